"""Memory that is nearly used up, and objects that had to go to disk."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts, rank_numbers
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Worker

NEARLY = 0.93
NEARLY_HOST = 0.96
LEAST_SPILLED_BYTES = 1 << 20
FRESH_S = 15.0


class MemoryPressure(Facts, frozen=True, kw_only=True):
    """A limit that the processes of some ranks have nearly reached."""

    hostname: str
    whose: str
    """"host", or the path of the cgroup."""
    used_bytes: int
    limit_bytes: int


class ObjectSpilling(Facts, frozen=True, kw_only=True):
    """A node that spills objects."""

    hostname: str
    spilled_bytes: int
    newest_s: float
    """The age of the newest file."""


@detector(causes=("memory_pressure",), after=("device_conflict",))
def memory_pressure(sample: AnalysisInput) -> list[Detection]:
    """Processes whose cgroup, or host, has hardly any memory left."""
    pressed: dict[tuple[str, str], list[Worker]] = {}
    limits: dict[tuple[str, str], MemoryPressure] = {}

    for member in sample.members:
        memory = member.counters.memory if member.counters is not None else None
        worker = member.worker

        if memory is None or worker.state != "alive":
            continue

        share = memory.used_bytes / max(1, memory.limit_bytes)

        if share >= (NEARLY_HOST if memory.whose == "host" else NEARLY):
            key = (worker.node_id, memory.whose)
            pressed.setdefault(key, []).append(worker)
            limits[key] = MemoryPressure(
                hostname=worker.hostname,
                whose=memory.whose,
                used_bytes=memory.used_bytes,
                limit_bytes=memory.limit_bytes,
            )

    return [
        Detection(
            cause="memory_pressure",
            severity="warning",
            ranks=rank_numbers(workers),
            facts=limits[key],
        )
        for key, workers in pressed.items()
    ]


@detector(causes=("object_spilling",), after=("straggler",))
def object_spilling(sample: AnalysisInput) -> list[Detection]:
    """An object store beside ranks that moves objects to disk, now: it is too small for its load."""
    found = []
    used = {member.worker.node_id for member in sample.members if member.worker.state == "alive"}

    for node in (node for node in sample.observation.nodes if node.node_id in used):
        report = sample.observation.node_reports.get(node.node_id)
        spilled = report.spilled if report is not None else None

        if spilled is None or spilled.newest_s is None or spilled.newest_s > FRESH_S:
            continue

        if spilled.bytes < LEAST_SPILLED_BYTES:
            continue

        found.append(
            Detection(
                cause="object_spilling",
                severity="warning",
                ranks=(),
                facts=ObjectSpilling(
                    hostname=node.hostname, spilled_bytes=spilled.bytes, newest_s=spilled.newest_s
                ),
            )
        )

    return found
