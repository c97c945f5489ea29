"""What the scripts of the suite share: where they break, and the time at which they did."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BROKE = "broke"


class Trip:
    """The seeded place at which a script breaks: one rank, one step."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.fault: str = options["fault"]
        self.rank: int = options["rank"]
        self.step: int = options["step"]
        self.out = Path(options["out"])

    def due(self, fault: str, rank: int, step: int) -> bool:
        """Tell whether this fault is to happen here and now, and note the time if so."""
        hit = self.fault == fault and rank == self.rank and step == self.step
        if hit:
            self.broke()
        return hit

    def since(self, fault: str, rank: int, step: int) -> bool:
        """Tell whether this fault is to happen at every step from here on."""
        hit = self.fault == fault and rank == self.rank and step >= self.step
        if hit and step == self.step:
            self.broke()
        return hit

    def broke(self) -> None:
        """Write down that it is broken now; the first time counts."""
        try:
            with (self.out / BROKE).open("x") as file:
                file.write(repr(time.time()))
        except FileExistsError:
            pass

    def log(self, rank: int) -> Callable[[int, float], None]:
        """Return what writes a line a step: step, loss, time, pid."""
        file = (self.out / f"rank{rank}.log").open("a", buffering=1)

        def write(step: int, loss: float) -> None:
            print(step, f"{loss:.6f}", time.time(), os.getpid(), file=file)
            # Where nothing ever breaks, this is from when on it is watched.
            if self.fault in ("none", "uneven") and step == self.step:
                self.broke()

        return write


def arguments(about: str | None, faults: dict[str, str]) -> dict[str, Any]:
    """Read the command line that every script of the suite takes."""
    listed = "\n".join(f"  {name:16}{what}" for name, what in faults.items())
    parser = argparse.ArgumentParser(
        description=about,
        epilog=f"faults:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="folder of the ranks' logs")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--gpus", type=float, default=0)
    parser.add_argument("--fault", choices=faults, required=True)
    parser.add_argument("--rank", type=int, default=1, help="the rank that breaks")
    parser.add_argument("--step", type=int, default=20, help="the step at which it breaks")
    parser.add_argument("--pace-s", type=float, default=0.1, help="seconds that a step takes")
    return vars(parser.parse_args())


def leave_ops_uncompiled() -> None:
    """Spare the test DeepSpeed's compile of its shared-memory op: a minute on a small machine."""
    # Not in the scripts: where a pickled function names torch and `ops`, torch.ops is pickled too.
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
