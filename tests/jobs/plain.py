"""Many ranks of plain torch in one Ray Train run: gloo all_reduces, no DeepSpeed, little memory.

Writes a line a step for each rank, as `train.py` does. From `--fault-step` on, rank 1 sleeps and
the others wait for it in the reduction, so that what is measured then is the reader alone.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import ray.train
import torch
import torch.distributed
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

PACE_S = 0.2


def train(options: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    rank = ray.train.get_context().get_world_rank()
    gradients = torch.zeros(1024)

    with (Path(options["out"]) / f"rank{rank}.log").open("a", buffering=1) as log:
        for step in range(options["steps"]):
            if rank == 1 and step == options["fault_step"]:
                sleep_for_good()

            torch.distributed.all_reduce(gradients)
            log.write(f"{step} 0.0 {time.time()} {os.getpid()}\n")
            time.sleep(PACE_S)


def sleep_for_good() -> None:
    time.sleep(3600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--fault-step", type=int, default=20)
    options = vars(parser.parse_args())
    TorchTrainer(
        train,
        train_loop_config=options,
        scaling_config=ScalingConfig(
            num_workers=options["workers"], resources_per_worker={"CPU": 0.1}
        ),
        run_config=RunConfig(storage_path=options["out"]),
        torch_config=TorchConfig(backend="gloo"),
    ).fit()


if __name__ == "__main__":
    main()
