"""A small, real Ray Train + DeepSpeed job; it knows nothing of dsray-inspect.

Arguments select the shape of the job and the fault it runs into, so that a test reads as
one command line. Progress goes to a file per rank: one line a step.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer


def load_batch(rank: int, step: int, options: dict[str, Any]) -> Any:
    import torch

    at_fault = rank == options["fault_rank"] and step == options["fault_step"]
    if at_fault and options["fault"] == "sleep":
        time.sleep(3600)
    if at_fault and options["fault"] == "gil":
        hold_the_gil()
    if at_fault and options["fault"] == "raise":
        raise ValueError("a bad batch")
    time.sleep(options["step_sleep_s"])
    return torch.randn(4, 64)


def hold_the_gil() -> None:
    import re

    re.match(r"(a+)+$", "a" * 60 + "b")


def deepspeed_config(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 1,
        "zero_optimization": {"stage": options["zero"], "stage3_param_persistence_threshold": 0},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
    }


def teach(options: dict[str, Any]) -> None:
    import torch

    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    if not options["compile_ops"]:
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    rank = ray.train.get_context().get_world_rank()
    os.environ["USER_SETTING"] = "from-the-script"
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(4)))
    engine, _, _, _ = deepspeed.initialize(
        model=model, model_parameters=model.parameters(), config=deepspeed_config(options)
    )
    with (Path(options["out"]) / f"rank{rank}.log").open("a", buffering=1) as log:
        for step in range(options["steps"]):
            batch = load_batch(rank, step, options)
            loss = engine(batch).pow(2).mean()
            engine.backward(loss)
            engine.step()
            log.write(f"{step} {loss.item():.6f} {time.time():.6f} {os.getpid()}\n")


def slow_setup_hook() -> None:
    """Make the worker that Ray Train gives rank 1 late for the rendezvous."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=0.1)
    parser.add_argument("--gpus", type=float, default=0)
    parser.add_argument("--zero", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--step-sleep-s", type=float, default=0.01)
    parser.add_argument("--fault", choices=("none", "sleep", "gil", "raise"), default="none")
    parser.add_argument("--fault-rank", type=int, default=1)
    parser.add_argument("--fault-step", type=int, default=20)
    parser.add_argument("--compile-ops", action="store_true")
    parser.add_argument("--name", default="")
    return parser.parse_args()


def main() -> None:
    args = parse()
    resources = {"CPU": args.cpus}
    if args.gpus:
        resources["GPU"] = args.gpus
    trainer = TorchTrainer(
        teach,
        train_loop_config=vars(args),
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=args.workers, use_gpu=bool(args.gpus), resources_per_worker=resources
        ),
        run_config=RunConfig(name=args.name or None, storage_path=str(Path(args.out) / "storage")),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
