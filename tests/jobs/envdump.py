"""A rank of plain torch that joins its group, sums one number over it and writes its environment.

It takes its place from RANK, or from Open MPI's variables, and ends once `--out` has a file `leave`,
or is gone: a launcher that is ended by force leaves its ranks behind.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
import torch.distributed

MPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")


def sum_over_ranks() -> float:
    """Join the default group and return the sum of its ranks."""
    if "RANK" not in os.environ:
        rank, size = (int(os.environ[name]) for name in MPI)
        torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
    else:
        torch.distributed.init_process_group("gloo")

    number = torch.tensor([float(torch.distributed.get_rank())])
    torch.distributed.all_reduce(number)
    return float(number.item())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--note", default="")
    options = parser.parse_args()
    seen = dict(os.environ)
    total = sum_over_ranks()
    told = {"env": seen, "sum": total, "note": options.note}
    path = options.out / f"rank{torch.distributed.get_rank()}.json"
    path.with_suffix(".part").write_text(json.dumps(told))
    path.with_suffix(".part").rename(path)

    while options.out.exists() and not (options.out / "leave").exists():
        time.sleep(0.1)


if __name__ == "__main__":
    main()
