"""A platform user whose jobs break before they train: placement, rendezvous, compilers, devices."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer
from trip import Trip, arguments, leave_ops_uncompiled

FAULTS = {
    "none": "train on",
    "no-room": "the group asks for more GPUs than there are",
    "late": "the rank sleeps before it joins the process group",
    "other-port": "the rank dials another MASTER_PORT",
    "dead-address": "the rank dials a MASTER_ADDR that nobody answers at",
    "world-size": "every rank believes in one rank more than there are",
    "stale-lock": "a killed compiler has left its lock",
    "cold-compile": "DeepSpeed's op is not compiled yet",
    "driver": "the driver hangs before it comes to fit()",
    "callback": "a callback of the user blocks the controller",
    "tokenizer": "the rank loads its tokenizer for ever, the others make DeepSpeed's process groups",
    "one-gpu": "every rank sees the first GPU only",
    # Healthy, but scary.
    "download": "the driver downloads for 12 s before it comes to fit()",
}


def joins(options: dict[str, Any]) -> Any:
    """Return a hook for worker processes: what a site's sitecustomize does to a rendezvous.

    It names nothing of this folder, which a worker cannot import yet when the hook is loaded.
    """
    fault, rank, mark = options["fault"], str(options["rank"]), f"{options['out']}/broke"

    def warm_up_caches() -> None:
        time.sleep(3600)

    def hook() -> None:
        import torch.distributed as dist

        join = dist.init_process_group

        def joined(*args: Any, **kwargs: Any) -> None:
            mine = os.environ["RANK"] == rank
            if mine:
                Path(mark).write_text(repr(time.time()))
            if fault == "late" and mine:
                warm_up_caches()
            if fault == "other-port" and mine:
                os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) ^ 1)
            if fault == "dead-address" and mine:
                os.environ["MASTER_ADDR"] = "10.255.255.1"
            if fault == "world-size":
                kwargs["world_size"] = kwargs["world_size"] + 1
                os.environ["WORLD_SIZE"] = str(kwargs["world_size"])
            join(*args, **kwargs)

        dist.init_process_group = joined

    return hook


class Notify(UserCallback):
    """Tells a chat room of each report."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.trip = Trip(options)

    def after_report(self, run_context: Any, metrics: Any, checkpoint: Any) -> None:
        if self.trip.fault == "callback":
            self.trip.broke()
            post_to_chat()


def post_to_chat() -> None:
    time.sleep(3600)


def read_pipe(path: Path) -> bytes:
    os.mkfifo(path)
    return path.read_bytes()


def worker_main(options: dict[str, Any]) -> None:
    import deepspeed

    trip = Trip(options)
    rank = ray.train.get_context().get_world_rank()
    if trip.fault not in ("stale-lock", "cold-compile"):
        leave_ops_uncompiled()
    else:
        trip.broke()
    if trip.fault == "one-gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"].split(",")[0]
        trip.broke()
    if trip.fault == "tokenizer" and rank == trip.rank:
        trip.broke()
        read_pipe(trip.out / "tokenizer.json")
    net = torch.nn.Linear(16, 16)
    engine, *_ = deepspeed.initialize(
        model=net,
        model_parameters=net.parameters(),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": {"stage": 2},
            "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
        },
    )
    write = trip.log(rank)
    for step in range(10_000_000):
        time.sleep(options["pace_s"])
        loss = engine(torch.randn(1, 16)).abs().mean()
        engine.backward(loss)
        engine.step()
        write(step, loss.item())
        if trip.fault == "callback" and step and step % 20 == 0:
            ray.train.report({"loss": loss.item()})


def download(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1_000_000))
        time.sleep(0.05)


def launch() -> None:
    options = arguments(__doc__, FAULTS)
    trip = Trip(options)
    hooked = options["fault"] in ("late", "other-port", "dead-address", "world-size")
    ray.init(runtime_env={"worker_process_setup_hook": joins(options)} if hooked else None)
    if options["fault"] == "driver":
        trip.broke()
        read_pipe(trip.out / "manifest.json")
    if options["fault"] == "download":
        trip.broke()
        download(12)
    if options["fault"] == "stale-lock":
        folder = Path(os.environ["TORCH_EXTENSIONS_DIR"]) / "deepspeed_shm_comm"
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    if options["fault"] == "no-room":
        trip.broke()
    gpus = {"no-room": 64.0, "one-gpu": 1.0}.get(options["fault"], options["gpus"])
    resources = {"CPU": 0.1, **({"GPU": gpus} if gpus else {})}
    TorchTrainer(
        worker_main,
        train_loop_config=options,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=options["workers"], use_gpu=bool(gpus), resources_per_worker=resources
        ),
        run_config=RunConfig(
            storage_path=f"{options['out']}/storage",
            callbacks=[Notify(options)],  # type: ignore[list-item]
        ),
    ).fit()


if __name__ == "__main__":
    launch()
