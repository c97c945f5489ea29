"""Ranks of plain torch without Ray: gloo all_reduces, and after `--fault-step` rank 1 sleeps.

Takes its rank from whoever started it: torchrun, deepspeed or mpirun. Each rank writes its step to
`--out`.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import torch
import torch.distributed

MPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
PACE_S = 0.05


def join_group(init_method: str) -> int:
    """Join the default group and return this process's rank."""
    if MPI[0] in os.environ:
        rank, size = (int(os.environ[name]) for name in MPI)
        torch.distributed.init_process_group(
            "gloo", init_method=init_method, rank=rank, world_size=size
        )
    else:
        torch.distributed.init_process_group("gloo")

    return torch.distributed.get_rank()


def load_batch(rank: int, step: int, fault_step: int) -> torch.Tensor:
    if rank == 1 and step == fault_step:
        time.sleep(3600)

    time.sleep(PACE_S)
    return torch.ones(4)


def train(out: Path, init_method: str, fault_step: int) -> None:
    rank = join_group(init_method)

    for step in range(100_000):
        batch = load_batch(rank, step, fault_step)
        torch.distributed.all_reduce(batch)
        (out / f"rank{rank}.step").write_text(str(step))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--init-method", default="env://")
    parser.add_argument("--fault-step", type=int, default=20)
    parser.add_argument("--local_rank", type=int, help="deepspeed gives it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.out, options.init_method, options.fault_step)


if __name__ == "__main__":
    main()
