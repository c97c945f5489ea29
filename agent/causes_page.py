"""docs/causes.md, from the table: `python -m dsray_inspect.agent.causes_page` prints it."""

from __future__ import annotations

import sys
from typing import get_args

from dsray_inspect.agent.causes import CAUSES, CauseSpec, Family

_HEAD = """# Causes

What a finding can name: `findings[].cause` and `verdict.cause` of `attach --json`, and the label `kind` of
`dsray_findings`. `make causes-page` writes this page from `agent/causes.py`. The ranks of a finding are the ones to
blame, not the ones that wait for them.
"""
_TITLES: dict[Family, str] = {
    "stall": "A rank that keeps its peers waiting",
    "disagreement": "Ranks that disagree",
    "process": "A process that does not run",
    "rendezvous": "Ranks that cannot find each other",
    "compile": "Compiling DeepSpeed's ops",
    "exit": "Ranks that ended",
    "driver and controller": "Before there are ranks",
    "drift": "What should be equal and is not",
    "numerics": "Training that learns nothing",
    "memory": "Memory",
}


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD]

    for family in get_args(Family):
        rows = [_row(spec) for spec in CAUSES if spec.family == family]
        head = (f"## {_TITLES[family]}\n", "| cause | means | concluded from |", "|---|---|---|")
        parts.append("\n".join((*head, *rows)) + "\n")

    return "\n".join(parts)


def _row(spec: CauseSpec) -> str:
    only = f" (only with {', '.join(_name(name) for name in spec.needs)})" if spec.needs else ""
    return f"| `{spec.code}` | {spec.meaning}{only} | {spec.evidence} |"


def _name(launcher: str) -> str:
    return {"ray": "Ray", "ray_train": "Ray Train"}[launcher]


if __name__ == "__main__":
    sys.stdout.write(page())
