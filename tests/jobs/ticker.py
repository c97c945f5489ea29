"""A one-rank job whose forward pass does nothing but notice when it was not running.

A line is written for every gap of more than 0.2 ms between two turns of its loop: when the
gap ended (Unix seconds) and how long it was (ms).
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

NOTICED_MS = 0.2
TURN_S = 0.5


class Ticker(torch.nn.Module):
    """Spins for `TURN_S` in each forward pass."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.log = log

    def forward(self, batch: torch.Tensor) -> Any:
        last = time.perf_counter()
        end = last + TURN_S
        while last < end:
            now = time.perf_counter()
            if (now - last) * 1000 > NOTICED_MS:
                self.log.write(f"{time.time():.6f} {(now - last) * 1000:.3f}\n")
            last = now
        return self.layer(batch)


def leave_ops_uncompiled() -> None:
    # Not in teach: where a pickled function names torch and `ops`, torch.ops would be pickled too.
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def teach(options: dict[str, Any]) -> None:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    leave_ops_uncompiled()
    rank = ray.train.get_context().get_world_rank()
    if options["cpu"] is not None:
        os.sched_setaffinity(0, {options["cpu"]})  # this thread's only
    with (Path(options["out"]) / f"gaps{rank}.log").open("a", buffering=1) as log:
        model = Ticker(log)
        engine, _, _, _ = deepspeed.initialize(
            model=model,
            model_parameters=model.parameters(),
            config={
                "train_micro_batch_size_per_gpu": 4,
                "zero_optimization": {"stage": 2},
                "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
            },
        )
        while True:
            loss = engine(torch.randn(4, 8)).pow(2).mean()
            engine.backward(loss)
            engine.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--cpu", type=int, help="where the loop runs; leave it alone there")
    options = vars(parser.parse_args())
    TorchTrainer(
        teach,
        train_loop_config=options,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.1}),
        run_config=RunConfig(storage_path=str(Path(options["out"]) / "storage")),
    ).fit()


if __name__ == "__main__":
    main()
