"""The table of a run of the suite: how right, how fast, and what was taken for what."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.run import NO_CLAIM, Score

NOTHING = "–"


def summary(scores: Sequence[Score]) -> dict[str, Any]:
    """Return precision, recall, F1, culprit accuracy, false alarms and times."""
    faults = [score for score in scores if score.expected and not score.error]
    healthy = [score for score in scores if not score.expected and not score.error]
    right = sum(score.cause_is_right for score in faults)
    wrong = sum(score.cause not in NO_CLAIM and not score.cause_is_right for score in faults)
    alarms = [score.case for score in healthy if score.is_false_alarm]
    culprits = [score.culprit_is_right for score in faults if score.culprit_is_right is not None]
    claimed = right + wrong + len(alarms)
    precision = right / claimed if claimed else 0.0
    recall = right / len(faults) if faults else 0.0
    both = precision + recall
    times = sorted(score.seconds for score in faults if score.seconds is not None)
    looks = sorted(score.look_s for score in faults)
    return {
        "faults": len(faults),
        "healthy": len(healthy),
        "precision": round(precision, 3),
        "recall": round(recall, 3),
        "f1": round(2 * precision * recall / both if both else 0.0, 3),
        "culprit_accuracy": round(sum(culprits) / len(culprits), 3) if culprits else None,
        "false_alarms": alarms,
        "false_hung": [score.case for score in healthy if score.state == "hung"],
        "seconds_to_verdict_median": median(times),
        "seconds_to_verdict_p90": quantile(times, 0.9),
        "cold_look_s_median": median(looks),
        "cold_look_s_p90": quantile(looks, 0.9),
        "did_not_run": [score.case for score in scores if score.error],
    }


def median(numbers: Sequence[float]) -> float | None:
    return round(statistics.median(numbers), 2) if numbers else None


def quantile(numbers: Sequence[float], share: float) -> float | None:
    return round(numbers[min(len(numbers) - 1, int(share * len(numbers)))], 2) if numbers else None


def confusion(scores: Sequence[Score]) -> dict[str, dict[str, int]]:
    """Return how often what was expected was called what."""
    found: dict[str, Counter[str]] = {}

    for score in scores:
        if score.error:
            continue

        # Where several codes are true, the one that was said is the row.
        said = score.cause or NOTHING
        expected = (
            said if said in score.expected else (score.expected[0] if score.expected else NOTHING)
        )
        found.setdefault(expected, Counter())[said] += 1

    return {expected: dict(counts) for expected, counts in sorted(found.items())}


def line(score: Score) -> str:
    """Return one row of the table."""
    head = f"{score.case:24}{score.tool:16}"

    if score.error:
        return f"{head}did not run: {score.error.splitlines()[0][:90]}"

    ranks = ",".join(map(str, score.ranks)) or NOTHING
    culprit = {True: "right", False: "WRONG", None: ""}[score.culprit_is_right]
    mark = "right" if score.cause_is_right else "WRONG"
    seconds = f"{score.seconds:.1f} s" if score.seconds is not None else NOTHING
    also = f"  on the way: {'; '.join(score.wrong_on_the_way)}" if score.wrong_on_the_way else ""
    return (
        f"{head}{score.state:9} {score.cause or NOTHING:26}{mark:6} "
        f"ranks {ranks:6} {culprit:6} {seconds:>8}  look {score.look_s:.1f} s{also}"
    )


def by_tool(scores: Sequence[Score]) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}

    for score in scores:
        found.setdefault(score.tool, []).append(score)

    return found


def report(scores: Sequence[Score]) -> str:
    """Return the figures of each tool and its confusion matrix, below the table."""
    return "\n\n".join(report_of(tool, own) for tool, own in by_tool(scores).items())


def report_of(tool: str, scores: Sequence[Score]) -> str:
    lines = [f"{name:28}{value}" for name, value in summary(scores).items()]
    rows = [
        f"  {expected:28}{', '.join(f'{said} {n}' for said, n in counts.items())}"
        for expected, counts in confusion(scores).items()
    ]
    return "\n".join([tool, *lines, "expected                      said", *rows])


def keep(scores: Sequence[Score], path: Path) -> None:
    """Write everything as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        tool: {
            "summary": summary(own),
            "confusion": confusion(own),
            "cases": [dataclasses.asdict(score) for score in own],
        }
        for tool, own in by_tool(scores).items()
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
