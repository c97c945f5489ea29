"""Run cells of the matrix: `python -m tests.matrix [CELL…]`, such as 2.46.0/v1 or 2.46.0.

What they gave is kept in `results.json`, from which docs/versions.md is made.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence

from tests.matrix.cells import CELLS, Cell
from tests.matrix.page import RESULTS, Outcomes, load_results, table
from tests.matrix.venvs import python_of
from tests.ray.processes import ROOT

LIMIT_S = 3600.0


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    names = ", ".join(cell.name for cell in CELLS)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"one of {names}, or a version")
    parser.add_argument("--check", action="append", default=[], help="a command; all by default")
    options = parser.parse_args(given)
    chosen = [cell for cell in CELLS if not options.cells or is_meant(cell, options.cells)]

    if not chosen:
        parser.error(f"no such cell; there are {names}")

    ran: Outcomes = {}

    for cell in chosen:
        print(f"{cell.name} …", file=sys.stderr)
        ran[cell.name] = run(cell, options.check)
        keep(cell.name, ran[cell.name])

    print(table(ran))
    failed = any(one["state"] == "wrong" for outcomes in ran.values() for one in outcomes.values())
    return 1 if failed else 0


def is_meant(cell: Cell, names: list[str]) -> bool:
    return cell.name in names or cell.versions.ray in names


def run(cell: Cell, checks: list[str]) -> dict[str, dict[str, str]]:
    """Return what each command gave; a cell that broke off has only how it ended."""
    argv = [str(python_of(cell.versions)), "-m", "tests.matrix.cell", cell.train, *checks]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
    document = done.stdout.strip().rpartition("\n")[2]

    if done.returncode or not document:
        return {"the jobs": {"state": "wrong", "detail": f"exit {done.returncode}"}}

    outcomes: dict[str, dict[str, str]] = json.loads(document)
    return outcomes


def keep(name: str, outcomes: dict[str, dict[str, str]]) -> None:
    """Write down what was run; of a cell's other commands what they gave before stays."""
    results = load_results()
    results[name] = results.get(name, {}) | outcomes
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
