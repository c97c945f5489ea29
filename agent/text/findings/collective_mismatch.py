"""Ranks that wait for one another."""

from __future__ import annotations

from dsray_inspect.agent.detectors.collective_mismatch import MutualWait, RanksIn
from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.evidence.common_order import Behind
from dsray_inspect.agent.text.findings.phrases import barrier_name, where_name
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import agree, duration, name_ranks

MOST_PARTS = 3


@words.register
def mutual_wait(facts: MutualWait, _detection: Detection) -> Words:
    parts = tuple(_part(part) for part in facts.parts)
    shown = "; ".join(parts[:MOST_PARTS]) + ("; …" if len(parts) > MOST_PARTS else "")
    waited = duration(facts.waited_s)
    return Words(
        summary=f"The ranks have been waiting for one another for {waited}: {shown}.",
        evidence=(*map(_behind, facts.behind), *parts),
    )


def _behind(late: Behind) -> str:
    """Return "rank 1: at step 19, its last collective of group 1 is #57, and ranks 0, 2 are in #58"."""
    at = f"at step {late.step}, " if late.step is not None else ""
    since = (
        f"; it came to the first of step {late.since_step} late by a part of a step, and is behind since"
        if late.since_step is not None
        else ""
    )
    are = agree(late.peers, "is", "are")
    return (
        f"{name_ranks([late.rank])}: {at}its last collective of group {late.group} is "
        f"#{late.last_sequence}, and {name_ranks(late.peers)} {are} in #{late.awaited_sequence}{since}"
    )


def _part(part: RanksIn) -> str:
    place = f", {where_name(part.where)}" if part.where else ""
    return f"{name_ranks(part.ranks)} in {barrier_name(part.waiting_in)}{place}"
