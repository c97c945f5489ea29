"""docs/versions.md, from the table of gaps and the cells that were run: `python -m tests.matrix.page`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dsray_inspect.agent.compat.supported import OLDEST_RAY, gaps
from tests.matrix.cells import CELLS

RESULTS = Path(__file__).with_name("results.json")
Outcomes = dict[str, dict[str, dict[str, str]]]
COMMANDS = (
    *("ls", "attach", "attach, healthy", "why", "stacks", "env", "trace", "trace --past"),
    *("doctor", "record", "serve", "submit"),
)
_MARKS = {"right": "✓", "said": "less", "wrong": "✗"}
_HEAD = f"""# Versions

dsray-inspect needs Ray {OLDEST_RAY} or newer; on an older cluster it exits with 6. It has to run with exactly the
cluster's Ray and Python.

`make matrix` runs one scenario on a real cluster for each set of versions: a job of two ranks in which one rank
hangs, and a healthy one. The content of each answer is checked. `make versions-page` writes this page.

## What was run

All with Python 3.11, on CPUs with gloo. ✓: right. less: what it says is right, but something is missing, and it says what
and why. ✗: wrong.
"""
_GAPS_HEAD = """
## What older versions lack

`doctor` names what is missing on the cluster at hand, and an answer that lacks something says so. With Ray Train V1, on
every version, a rank's step and engine are not known while it trains, because its main thread is never free.

| before Ray | is missing |
|---|---|
"""


def load_results() -> Outcomes:
    results: Outcomes = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return results


def table(results: Outcomes) -> str:
    """Return a line for each cell that was run, and what is behind every mark but a ✓."""
    ran = [cell for cell in CELLS if cell.name in results]
    used = {name for cell in ran for name in results[cell.name]}
    names = [name for name in COMMANDS if name in used] + sorted(used - set(COMMANDS))
    lines = [
        f"| Ray | Train | DeepSpeed | torch | {' | '.join(names)} |",
        "|---" * (len(names) + 4) + "|",
    ]
    notes: list[str] = []

    for cell in ran:
        outcomes = results[cell.name]
        marks = [_MARKS[outcomes[name]["state"]] if name in outcomes else "–" for name in names]
        version = cell.versions
        begin = (version.ray, cell.train.upper(), version.deepspeed, version.torch)
        lines.append(f"| {' | '.join((*begin, *marks))} |")
        details = dict.fromkeys(outcome["detail"] for outcome in outcomes.values())
        notes += [
            f"- Ray {version.ray}, {cell.train.upper()}, {_named(detail, outcomes)}: {detail}"
            for detail in details
            if detail
        ]

    return "\n".join((*lines, *(["", *notes] if notes else [])))


def _named(detail: str, outcomes: dict[str, dict[str, str]]) -> str:
    """Return the commands that gave this much."""
    return ", ".join(f"`{name}`" for name, one in outcomes.items() if one["detail"] == detail)


def page() -> str:
    """Return the whole page."""
    rows = "\n".join(f"| {gap.since} | {gap.lost} |" for gap in gaps())
    return f"{_HEAD}\n{table(load_results())}\n{_GAPS_HEAD}{rows}\n"


if __name__ == "__main__":
    sys.stdout.write(page())
