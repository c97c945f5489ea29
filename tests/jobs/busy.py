"""A real Ray Train job that does what a trace is to tell apart; it knows nothing of dsray-inspect.

Each rank writes a line for each global step: step, time, pid. With `--ddp` there is no DeepSpeed.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import torch.distributed
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch.nn.parallel import DistributedDataParallel

Options = dict[str, Any]
PUT_FLOATS = 50_000


def config(options: Options) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": options["accumulate"],
        "zero_optimization": {"stage": options["zero"], "stage3_param_persistence_threshold": 0},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
    }


def leave_ops_uncompiled() -> None:
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def network() -> torch.nn.Module:
    return torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(4)))


def teach(options: Options) -> None:
    rank = ray.train.get_context().get_world_rank()
    take = ddp_step(options) if options["ddp"] else deepspeed_step(options)

    with (Path(options["out"]) / f"rank{rank}.log").open("a", buffering=1) as log:
        for step in range(options["steps"]):
            if rank == options["slow_rank"]:
                time.sleep(options["slow_s"])
            loss = take(step)
            exchange(step, options)
            log.write(f"{step} {loss:.6f} {time.time():.6f} {os.getpid()}\n")


def deepspeed_step(options: Options) -> Any:
    import deepspeed

    leave_ops_uncompiled()
    model = network()
    engine, _, _, _ = deepspeed.initialize(
        model=model, model_parameters=model.parameters(), config=config(options)
    )

    def take(step: int) -> float:
        for _ in range(options["accumulate"]):
            time.sleep(options["step_sleep_s"])
            loss = engine(torch.randn(4, 64)).pow(2).mean()
            if options["direct"]:
                loss.backward()
            else:
                engine.backward(loss)
            engine.step()
        if options["save_every"] and step % options["save_every"] == 1:
            engine.save_checkpoint(str(Path(options["out"]) / "checkpoint"))
        return float(loss)

    return take


def ddp_step(options: Options) -> Any:
    model = DistributedDataParallel(network())
    optimizer = torch.optim.AdamW(model.parameters())

    def take(_step: int) -> float:
        time.sleep(options["step_sleep_s"])
        loss = model(torch.randn(4, 64)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss)

    return take


def exchange(step: int, options: Options) -> None:
    """Put and get an object, and report, now and then."""
    if options["objects"] and step % 5 == 2:
        ray.get(ray.put(torch.zeros(PUT_FLOATS).numpy()))
    if options["report_every"] and step % options["report_every"] == 3:
        ray.train.report({"step": step})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--zero", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--step-sleep-s", type=float, default=0.02)
    parser.add_argument("--accumulate", type=int, default=1, help="micro steps a global step")
    parser.add_argument("--direct", action="store_true", help="loss.backward(), not the engine's")
    parser.add_argument("--ddp", action="store_true", help="plain torch")
    parser.add_argument("--objects", action="store_true", help="ray.put and ray.get")
    parser.add_argument("--report-every", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=0)
    parser.add_argument("--slow-rank", type=int, default=-1)
    parser.add_argument("--slow-s", type=float, default=0.2)
    options = vars(parser.parse_args())
    TorchTrainer(
        teach,
        train_loop_config=options,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=options["workers"], resources_per_worker={"CPU": 0.1}
        ),
        run_config=RunConfig(storage_path=str(Path(options["out"]) / "storage")),
    ).fit()


if __name__ == "__main__":
    main()
