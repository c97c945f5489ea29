"""A run that fails of the same each time it is started again."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.restart_loop import RestartLoop
from dsray_inspect.agent.text.findings.phrases import where_name
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import duration, name_ranks


@words.register
def restart_loop(facts: RestartLoop, detection: Detection) -> Words:
    place = f" in {where_name(facts.place)}" if facts.place else ""
    who = f" on {name_ranks(detection.ranks)}" if detection.ranks else ""
    life = (
        f"within {duration(facts.longest_life_s)}"
        if facts.longest_life_s is not None
        else "before their workers had started"
    )
    failed = facts.failed_ranks
    source = facts.source or "not named"
    alike = f"{facts.failed} failures alike in {duration(facts.lasts_s)}"
    return Words(
        summary=f"The run is at attempt {facts.attempt}; the last {facts.failed} failed {life}"
        f"{place}{who}: {facts.error}",
        evidence=(
            f"Ray Train's controller: {alike}, source: {source}, decision: retry",
            *([f"the newest failed on {name_ranks(failed)}"] if failed else []),
        ),
        next_step=f"ray job logs {facts.submission_id}" if facts.submission_id else None,
    )
