"""Memory that is nearly used up, and objects that had to go to disk."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.findings import duration, name_ranks, next_command, ranks
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Finding, Worker

NEARLY = 0.93
NEARLY_HOST = 0.96
LEAST_SPILLED_BYTES = 1 << 20
FRESH_S = 15.0
GIB = 1 << 30


@detector(causes=("memory_pressure",), after=("device_conflict",))
def memory_pressure(facts: AnalysisInput) -> list[Finding]:
    """Processes whose cgroup, or host, has hardly any memory left."""
    pressed: dict[tuple[str, str], list[Worker]] = {}
    texts: dict[tuple[str, str], str] = {}

    for member in facts.members:
        memory = member.counters.memory if member.counters is not None else None

        if memory is None or member.worker.state != "alive":
            continue

        share = memory.used_bytes / max(1, memory.limit_bytes)

        if share >= (NEARLY_HOST if memory.whose == "host" else NEARLY):
            key = (member.worker.node_id, memory.whose)
            pressed.setdefault(key, []).append(member.worker)
            texts[key] = (
                f"{memory.used_bytes / GIB:.2f} of {memory.limit_bytes / GIB:.2f} GiB used "
                f"({100 * share:.0f} %)"
            )

    return [
        Finding(
            cause="memory_pressure",
            severity="warning",
            ranks=ranks(workers),
            summary=f"{name_ranks(ranks(workers)).capitalize()} on {workers[0].hostname} "
            f"{'is' if len(workers) == 1 else 'are'} about to run out of memory: {texts[key]}.",
            evidence=(f"{key[1]}: {texts[key]}",),
            next_step=next_command(facts, "attach", ()),
        )
        for key, workers in pressed.items()
    ]


@detector(causes=("object_spilling",), after=("straggler",))
def object_spilling(facts: AnalysisInput) -> list[Finding]:
    """An object store beside ranks that moves objects to disk, now: it is too small for its load."""
    found = []
    used = {one.worker.node_id for one in facts.members if one.worker.state == "alive"}

    for node in (one for one in facts.observation.nodes if one.node_id in used):
        report = facts.observation.node_reports.get(node.node_id)
        spilled = report.spilled if report is not None else None

        if spilled is None or spilled.newest_s is None or spilled.newest_s > FRESH_S:
            continue

        if spilled.bytes < LEAST_SPILLED_BYTES:
            continue

        found.append(
            Finding(
                cause="object_spilling",
                severity="warning",
                ranks=(),
                summary=f"{node.hostname} spills objects to disk: "
                f"{spilled.bytes / 1e9:.2f} GB so far, the last {duration(spilled.newest_s)} ago.",
                evidence=(
                    (
                        f"ray_spilled_objects on {node.hostname}: {spilled.bytes:,} bytes, "
                        f"the newest file is {duration(spilled.newest_s)} old"
                    ),
                ),
                next_step="ray memory --stats-only",
            )
        )

    return found
