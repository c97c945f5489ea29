"""A rank that is slower than its peers."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.straggler import Lateness
from dsray_inspect.agent.text.findings.phrases import activity_text
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import duration, name_ranks, sentence


@words.register
def lateness(facts: Lateness, detection: Detection) -> Words:
    rank = name_ranks(detection.ranks)
    share = facts.lost_s / facts.observed_s
    return Words(
        summary=f"{sentence(rank)} reaches collectives {duration(facts.late_s)} after its peers, "
        f"again and again: {100 * share:.0f} % of the time is lost waiting for it.",
        evidence=(
            (
                f"flight recorder, group {facts.group}: last at {facts.events} of the newest "
                f"{facts.collectives} collectives"
            ),
            (
                f"the others waited {duration(facts.lost_s)} of {duration(facts.observed_s)} for it, "
                f"{duration(facts.next_worst_s)} for the next slowest"
            ),
            *([f"{rank}: {activity_text(facts.activity)}"] if facts.activity else []),
        ),
    )
