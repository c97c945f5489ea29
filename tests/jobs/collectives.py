"""Two ranks without Ray that make collectives and then do as they are told; for reads from outside.

    python collectives.py RANK FOLDER COUNT HOW

Both make COUNT collectives in each of two groups, and rank 0 one more that never ends. Rank 0 then
writes torch's own dump into FOLDER and prints "ready"; HOW is what it does after that: `sleep`,
`gil` (holds the GIL for good), `fork` (its child prints the line, and has inherited all), or `move`
(goes on making collectives of a group of its own, and writes no dump).
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch._C import _distributed_c10d

PACE_S = 0.0005
DTYPES = (torch.bfloat16, torch.float32, torch.int64)


def main() -> None:
    rank, folder, count, how = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    store = _distributed_c10d.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    second = dist.new_group([0, 1], group_desc="a description of more than fifteen characters")

    for number in range(count):
        dist.all_reduce(torch.zeros(3, number % 7 + 1, dtype=DTYPES[number % 3]))
        dist.all_gather([torch.zeros(2), torch.zeros(2)], torch.zeros(2), group=second)

    alone = [dist.new_group([0]), dist.new_group([1])][rank]

    if rank == 0:
        begun = dist.all_reduce(torch.zeros(1234), async_op=True)
        write_dump(folder)
        then(how, alone)
        del begun

    time.sleep(600)


def write_dump(folder: Path) -> None:
    """Write what torch itself tells, once the collectives that have ended are known to have."""
    time.sleep(0.2)
    (folder / "dump").write_bytes(_distributed_c10d._dump_fr_trace(True, False, False))  # type: ignore[attr-defined]


def then(how: str, alone: dist.ProcessGroup | None) -> None:
    if how == "fork" and os.fork():
        time.sleep(600)

    print(f"ready {os.getpid()}", flush=True)

    if how == "gil":
        re.match(r"(a+)+$", "a" * 60 + "b")

    while how == "move":
        dist.all_reduce(torch.zeros(5), group=alone)
        time.sleep(PACE_S)


if __name__ == "__main__":
    main()
