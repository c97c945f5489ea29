"""Memory that runs out, objects that spill."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.memory import MemoryPressure, ObjectSpilling
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import agree, duration, name_ranks, sentence

GIB = 1 << 30


@words.register
def memory_pressure(facts: MemoryPressure, detection: Detection) -> Words:
    ranks = detection.ranks
    used = (
        f"{facts.used_bytes / GIB:.2f} of {facts.limit_bytes / GIB:.2f} GiB used "
        f"({100 * facts.used_bytes / max(1, facts.limit_bytes):.0f} %)"
    )
    return Words(
        summary=f"{sentence(name_ranks(ranks))} on {facts.hostname} {agree(ranks, 'is', 'are')} "
        f"about to run out of memory: {used}.",
        evidence=(f"{facts.whose}: {used}",),
    )


@words.register
def object_spilling(facts: ObjectSpilling, _detection: Detection) -> Words:
    newest = duration(facts.newest_s)
    return Words(
        summary=f"{facts.hostname} is spilling objects to disk: "
        f"{facts.spilled_bytes / 1e9:.2f} GB so far, the latest {newest} ago.",
        evidence=(
            (
                f"ray_spilled_objects on {facts.hostname}: {facts.spilled_bytes:,} bytes, "
                f"the newest file is {newest} old"
            ),
        ),
        next_step="ray memory --stats-only",
    )
