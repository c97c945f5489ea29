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


def _behind(one: Behind) -> str:
    """Return "rank 1: at step 19, its last collective of group 1 is #57, and ranks 0, 2 are in #58"."""
    at = f"at step {one.step}, " if one.step is not None else ""
    since = (
        f"; it came to the first of step {one.since_step} late by a part of a step, and is behind since"
        if one.since_step is not None
        else ""
    )
    are = agree(one.peers, "is", "are")
    return (
        f"{name_ranks([one.rank])}: {at}its last collective of group {one.group} is "
        f"#{one.last_sequence}, and {name_ranks(one.peers)} {are} in #{one.awaited_sequence}{since}"
    )


def _part(part: RanksIn) -> str:
    place = f", {where_name(part.where)}" if part.where else ""
    return f"{name_ranks(part.ranks)} in {barrier_name(part.waiting_in)}{place}"
