"""A language-model user: functions and a config, ZeRO-3, everything about collectives and configs."""

from __future__ import annotations

import os
import time
from typing import Any

import ray.train
import torch
import torch.distributed as dist
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from trip import Trip, arguments, leave_ops_uncompiled

FAULTS = {
    "none": "train on",
    "branch": "the rank takes one more forward than the others",
    "early-stop": "the rank leaves the loop and returns",
    "save-alone": "the rank alone saves a checkpoint",
    "barrier": "the rank calls a barrier of its own",
    "node-group": "the rank sleeps before a collective of a group that not all ranks are in",
    "other-op": "the rank broadcasts where the others reduce",
    "other-size": "the rank reduces another size than the others",
    "nan": "the rank's loss is not a number; overflow checks skip the step",
    "inf-step": "the rank's gradients overflow, on and on; every step is skipped",
    "zero-mix": "the rank runs ZeRO-1, the others ZeRO-2",
    "clip-mix": "the rank clips its gradients at another norm",
    "env": "the rank has another NCCL_ALGO than the others",
    "hidden-env": "NCCL_SOCKET_IFNAME is set on the driver and does not reach the ranks",
    "raise": "the rank's tokenizer raises an exception",
    "eval-gather": "the rank gathers metrics that the others do not",
}


def tokenizer(step: int, rank: int, trip: Trip) -> torch.Tensor:
    if trip.due("raise", rank, step):
        raise KeyError("<unk>")
    return torch.randn(2, 32)


def ds_config(rank: int, trip: Trip) -> dict[str, Any]:
    odd = rank == trip.rank
    stage = {"zero-mix": 1 if odd else 2, "nan": 2, "inf-step": 2}.get(trip.fault, 3)
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 2,
        # As with a model that does not fit: parameters are gathered for each use, and let go.
        "zero_optimization": {
            "stage": stage,
            "stage3_param_persistence_threshold": 0,
            "stage3_max_live_parameters": 0,
            "stage3_max_reuse_distance": 0,
        },
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "torch_adam": True}},
    }
    if trip.fault == "clip-mix":
        config["gradient_clipping"] = 0.5 if odd else 1.0
    if trip.fault in ("nan", "inf-step"):
        config["bf16"] = {"enabled": True, "check_grad_overflow": True}
    return config


def compute_loss(model: Any, tokens: torch.Tensor, step: int, rank: int, trip: Trip) -> Any:
    if trip.fault in ("nan", "inf-step"):
        tokens = tokens.bfloat16()
    loss = model(tokens).float().pow(2).mean()
    if trip.since("nan", rank, step):
        loss = loss * float("nan")
    if trip.since("inf-step", rank, step):
        loss = loss * 3e37  # finite, and its gradients' squares are not
    return loss


def sync_node(step: int, rank: int, trip: Trip, node: Any) -> None:
    """Average over the first two ranks, as over those of one node."""
    if trip.due("node-group", rank, step):
        time.sleep(3600)
    if trip.fault == "node-group" and rank in (0, 1):
        dist.all_reduce(torch.ones(16), group=node)


def sync_metrics(step: int, rank: int, trip: Trip) -> None:
    tensor = torch.ones(64)
    if trip.fault in ("other-op", "other-size"):
        if trip.due("other-op", rank, step):
            dist.broadcast(tensor, src=rank)
        elif trip.due("other-size", rank, step):
            dist.all_reduce(torch.ones(7))
        else:
            dist.all_reduce(tensor)
    if trip.due("eval-gather", rank, step):
        parts = [torch.empty(64) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor)
    if trip.due("barrier", rank, step):
        dist.barrier()


def finetune(cfg: dict[str, Any]) -> None:
    import deepspeed

    leave_ops_uncompiled()
    trip = Trip(cfg)
    rank = ray.train.get_context().get_world_rank()
    if trip.fault == "env" and rank == trip.rank:
        os.environ["NCCL_ALGO"] = "Ring"
    layers = [torch.nn.Linear(32, 32) for _ in range(3)]
    model, *_ = deepspeed.initialize(
        model=torch.nn.Sequential(*layers),
        model_parameters=[p for layer in layers for p in layer.parameters()],
        config=ds_config(rank, trip),
    )
    node = dist.new_group([0, 1]) if trip.fault == "node-group" else None
    write = trip.log(rank)
    if trip.fault in ("zero-mix", "clip-mix", "env", "hidden-env"):
        trip.broke()
    for step in range(10_000_000):
        tokens = tokenizer(step, rank, trip)
        time.sleep(cfg["pace_s"])
        if trip.due("branch", rank, step):
            model(tokens)
        loss = compute_loss(model, tokens, step, rank, trip)
        model.backward(loss)
        model.step()
        write(step, loss.item())
        sync_node(step, rank, trip, node)
        sync_metrics(step, rank, trip)
        if trip.due("save-alone", rank, step):
            model.save_checkpoint(str(trip.out / "ckpt"))
        if trip.due("early-stop", rank, step):
            return


def main() -> None:
    cfg = arguments(__doc__, FAULTS)
    if cfg["fault"] == "hidden-env":
        os.environ["NCCL_SOCKET_IFNAME"] = "eth7"
    trainer = TorchTrainer(
        finetune,
        train_loop_config=cfg,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=cfg["workers"], resources_per_worker={"CPU": 0.1}),
        run_config=RunConfig(storage_path=f"{cfg['out']}/storage"),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
