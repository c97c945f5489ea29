"""Ranks that wait for one another."""

from __future__ import annotations

from dsray_inspect.agent.detectors.collective_mismatch import MutualWait, RanksIn
from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.text.findings.phrases import barrier_name, where_name
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import duration, name_ranks

MOST_PARTS = 3


@words.register
def mutual_wait(facts: MutualWait, _detection: Detection) -> Words:
    parts = tuple(_part(part) for part in facts.parts)
    shown = "; ".join(parts[:MOST_PARTS]) + ("; …" if len(parts) > MOST_PARTS else "")
    waited = duration(facts.waited_s)
    return Words(
        summary=f"The ranks have been waiting for one another for {waited}: {shown}.",
        evidence=parts,
    )


def _part(part: RanksIn) -> str:
    place = f", {where_name(part.where)}" if part.where else ""
    return f"{name_ranks(part.ranks)} in {barrier_name(part.waiting_in)}{place}"
