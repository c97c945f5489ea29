"""What is known of one rank besides its stack: process, GPUs, DeepSpeed, environment, evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from dsray_inspect.agent.model import OK, Gpu, Snapshot, Worker
from dsray_inspect.agent.text.env import written
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.agent.text.report import facts_of
from dsray_inspect.tui.drawing import phase_strip
from dsray_inspect.tui.rows import Part, Row, blank, row
from dsray_inspect.tui.throughput import chart

FACT_HEAD: Final = 13
"""Columns of a fact's name."""
_MIB: Final = 1 << 20
_CHART: Final = 36
_STRIP: Final = 48
_EVIDENCE: Final = (
    "gcs", "controller", "worker", "stack", "env", "deepspeed", "collectives", "gpu",
)  # fmt: skip


def fact(name: str, *parts: Part, key: str = "") -> Row:
    """Return a row with a name at the left."""
    return row(key or f"fact {name}", (f"   {name:<{FACT_HEAD}}", "dim"), *parts)


def why_missing(evidence: str) -> str:
    """Return why something is missing; what was read may still have nothing to show just now."""
    return "not at the moment" if evidence == OK else f"not seen: {evidence}"


def process_rows(snapshot: Snapshot, worker: Worker, earlier: Sequence[Worker]) -> Iterator[Row]:
    """Yield the activity of a rank over the latest snapshots, its memory, GPUs and versions."""
    idle = "–" if worker.idle_s is None else duration(worker.idle_s)
    yield fact("idle", (idle, ""), ("  since its training thread last ran on a CPU", "dim"))
    yield fact("phases", *phase_strip([each.phase for each in earlier], _STRIP))
    steps = [each.step for each in earlier if each.step is not None]
    step = "–" if worker.step is None else str(worker.step)
    made = [float(max(0, after - before)) for before, after in pairwise(steps)]
    yield fact(
        "step",
        (f"{step:<12} ", "bold"),
        (chart(made, _CHART), "accent"),
        ("  steps per sample", "dim"),
    )

    if worker.rss_bytes is not None:
        memory = [None if each.rss_bytes is None else each.rss_bytes / _MIB for each in earlier]
        yield fact(
            "memory",
            (f"{worker.rss_bytes / _MIB:,.0f} MiB".ljust(13), "bold"),
            (chart(memory, _CHART), "accent"),
            ("  resident", "dim"),
        )

    yield from (_gpu_row(gpu) for gpu in _gpus_of(worker, snapshot))
    versions = "  ".join(f"{name} {version}" for name, version in worker.versions.items())
    yield fact("versions", (versions or "–", ""))
    pause: Part = (f"{worker.pause_ms:.1f} ms", "")
    yield fact("paused", pause, ("  how long this sample stopped it", "dim"))


def _gpu_row(gpu: Gpu) -> Row:
    used = gpu.memory_used_bytes
    memory = "" if used is None else f", {used / _MIB:,.0f} MiB used"
    busy = "–" if gpu.utilization is None else f"{gpu.utilization * 100:.0f} % busy"
    return fact(f"GPU {gpu.index}", (f"{busy}{memory}", ""), (f"  {gpu.name} {gpu.uuid}", "dim"))


def _gpus_of(worker: Worker, snapshot: Snapshot) -> list[Gpu]:
    uuids = {gpu.uuid for gpu in worker.gpus if gpu.uuid}
    nodes = (node for node in snapshot.nodes if node.node_id == worker.node_id)
    node = next(nodes, None)
    return [gpu for gpu in node.gpus if gpu.uuid in uuids] if node is not None else []


def deepspeed_summary(worker: Worker) -> str:
    if worker.deepspeed is None:
        return why_missing(worker.evidence.deepspeed)

    return " · ".join(facts_of(worker.deepspeed)[:3])


def deepspeed_rows(worker: Worker) -> Iterator[Row]:
    engine = worker.deepspeed

    if engine is None:
        return

    yield fact("engine", (" · ".join(facts_of(engine)[3:]), ""))
    yield from (
        fact("" if number else "group", (name, ""), key=f"group {number}")
        for number, name in enumerate(engine.process_groups)
    )

    for phase in engine.init:
        text = f"{phase.phase} {duration(phase.seconds)}"
        yield fact("start-up", (text, ""), key=f"init {phase.phase}")


def env_rows(worker: Worker) -> Iterator[Row]:
    for name, variable in sorted(worker.env.items()):
        yield row(
            f"env {name}",
            (f"   {name}", "bold"),
            ("=", "dim"),
            (written(variable.value, whole=True), ""),
            (f"  {variable.source}", "dim"),
        )


def config_rows(worker: Worker) -> Iterator[Row]:
    config = worker.deepspeed.config if worker.deepspeed else {}

    for name, value in sorted(config.items()):
        yield row(f"config {name}", (f"   {name}", "bold"), (" = ", "dim"), (value, ""))


def evidence_rows(worker: Worker) -> Iterator[Row]:
    for name in _EVIDENCE:
        why = getattr(worker.evidence, name)
        part: Part = ("● ok", "success") if why == OK else (f"? {why}", "warning")
        yield fact(name, part, key=f"evidence {name}")

    yield blank()
