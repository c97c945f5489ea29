"""Run cells of the matrix: `python -m tests.matrix [CELL…]`, such as 2.46.0/v1 or 2.46.0.

What they gave is kept in `results.json`, from which docs/versions.md is made.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.matrix.cells import CELLS, Cell
from tests.matrix.page import RESULTS, load_results, table
from tests.matrix.venvs import python_of
from tests.ray.processes import ROOT

LIMIT_S = 3600.0


def main(names: list[str]) -> int:
    chosen = [cell for cell in CELLS if not names or is_meant(cell, names)]

    if not chosen:
        print(f"no such cell; there are {', '.join(cell.name for cell in CELLS)}", file=sys.stderr)
        return 2

    ran: dict[str, dict[str, dict[str, str]]] = {}

    for cell in chosen:
        print(f"{cell.name} …", file=sys.stderr)
        ran[cell.name] = run(cell)
        RESULTS.write_text(json.dumps(load_results() | ran, indent=1, sort_keys=True) + "\n")

    print(table(ran))
    failed = any(one["state"] == "wrong" for outcomes in ran.values() for one in outcomes.values())
    return 1 if failed else 0


def is_meant(cell: Cell, names: list[str]) -> bool:
    return cell.name in names or cell.versions.ray in names


def run(cell: Cell) -> dict[str, dict[str, str]]:
    """Return what each command gave; a cell that broke off has only how it ended."""
    argv = [str(python_of(cell.versions)), "-m", "tests.matrix.cell", cell.train]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
    document = done.stdout.strip().rpartition("\n")[2]

    if done.returncode or not document:
        return {"the jobs": {"state": "wrong", "detail": f"exit {done.returncode}"}}

    outcomes: dict[str, dict[str, str]] = json.loads(document)
    return outcomes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
