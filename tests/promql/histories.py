"""Histories of runs as `serve` would have exposed them: real snapshots, changed and exposed one by one.

Each run has a `serve` of its own; every sample comes out of the exporter's own collector. Two
runs, in two clusters, have the same id: that of a job whose controller never gave its run's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from dsray_inspect.agent.model import (
    Cost,
    Finding,
    Gpu,
    InitPhase,
    Phase,
    Snapshot,
    StartPart,
    Startup,
    Verdict,
    VerdictState,
    Worker,
    WorkerGpu,
)
from dsray_inspect.exporters import metrics as m
from dsray_inspect.exporters.latest_sample import LatestSample
from dsray_inspect.exporters.prometheus import Collector
from dsray_inspect.exporters.samples import MetricSample
from tests.unit import snapshots

BEGIN_S: Final = 1_767_225_600
"""2026-01-01, where a block of Prometheus begins."""
EVERY_S: Final = 30
STEP_S: Final = 0.5
HUNG: Final = snapshots.recorded("hung")
FOUND: Final = HUNG.findings[0]
Evolve = Callable[[int], Snapshot]
"""The snapshot that is taken after so many seconds."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """One run that was watched."""

    name: str
    cluster: str
    run_id: str
    lasts_s: int
    begins_s: int
    """When what goes wrong begins; at the end where nothing does."""
    snapshot_at: Evolve

    @property
    def instance(self) -> str:
        return f"{self.name}:9464"


def healthy_at(after_s: int, seed: int = 0) -> Snapshot:
    """Return a snapshot of three ranks that train."""
    dice = random.Random(after_s * 31 + seed)
    phases: list[Phase] = ["forward", "backward", "grad_reduce", "optimizer_step", "data", "user"]
    workers = tuple(
        msgspec.structs.replace(
            worker,
            phase=dice.choice(phases),
            step=int(after_s / STEP_S) + 5,
            idle_s=dice.random() / 100,
            collectives=(),
            gpus=(WorkerGpu(slot=place, visible=str(place), uuid=f"GPU-{seed}-{place}"),),
            hostname=f"host-{seed}-{place // 2}",
            deepspeed=initialised(worker),
        )
        for place, worker in enumerate(HUNG.workers)
    )
    node = HUNG.nodes[0]
    nodes = tuple(
        msgspec.structs.replace(
            node,
            node_id=f"node{seed}{place}",
            hostname=f"host-{seed}-{place}",
            gpus=tuple(gpu(seed, index) for index in range(place * 2, place * 2 + 2)),
        )
        for place in range(2)
    )
    return msgspec.structs.replace(
        HUNG,
        taken_at=float(BEGIN_S + after_s),
        nodes=nodes,
        workers=workers,
        findings=(),
        verdict=verdict("healthy"),
        startup=STARTED,
        costs=costs(after_s),
    )


STARTED: Final = Startup(
    began_at=BEGIN_S - 40.0,
    seconds=40.0,
    until="first_step",
    restart=False,
    parts=(
        StartPart(name="actor_scheduling", seconds=2.0),
        StartPart(name="imports", seconds=9.0),
        StartPart(name="rendezvous", seconds=1.0),
        StartPart(name="deepspeed_init", seconds=28.0),
    ),
)


def costs(after_s: int) -> tuple[Cost, ...]:
    def cost(name: m.Type | str, seconds: float) -> Cost:
        return msgspec.convert({"name": name, "seconds": seconds, "evidence": "replayed"}, Cost)

    return (
        *(cost("imports", 9.0), cost("deepspeed_init", 28.0), cost("op_compile", 20.0)),
        *(cost("report", after_s / 50), cost("object_store", after_s / 100)),
        cost("training", float(after_s)),
    )


def initialised(worker: Worker) -> object:
    init = (InitPhase(phase="config", seconds=0.5), InitPhase(phase="optimizer", seconds=21.0))
    assert worker.deepspeed is not None
    return msgspec.structs.replace(worker.deepspeed, init=init)


def gpu(seed: int, place: int) -> Gpu:
    return Gpu(
        index=place,
        uuid=f"GPU-{seed}-{place}",
        name="H100",
        utilization=0.9,
        memory_used_bytes=40 << 30,
        memory_total_bytes=80 << 30,
    )


def verdict(state: VerdictState, *findings: Finding) -> Verdict:
    first = findings[0] if findings else None
    return Verdict(
        state=state,
        cause=first.cause if first else None,
        ranks=first.ranks if first else (),
        summary=first.summary if first else "All is well.",
    )


def blamed(snapshot: Snapshot, state: VerdictState, cause: str, *ranks: int) -> Snapshot:
    """Return the snapshot with a finding and its verdict."""
    finding = msgspec.convert(
        {**msgspec.structs.asdict(FOUND), "cause": cause, "ranks": ranks}, Finding
    )
    return msgspec.structs.replace(snapshot, findings=(finding,), verdict=verdict(state, finding))


def hanging(begins_s: int, seed: int) -> Evolve:
    """Rank 1 blocks; what its peers wait in is what was recorded of a real hang."""

    def snapshot_at(after_s: int) -> Snapshot:
        if after_s <= begins_s:
            return healthy_at(after_s, seed)

        for_s = float(after_s - begins_s)
        before = healthy_at(begins_s, seed)
        workers = tuple(
            msgspec.structs.replace(
                worker,
                phase=recorded.phase,
                idle_s=for_s,
                collectives=tuple(
                    msgspec.structs.replace(each, age_s=for_s) for each in recorded.collectives
                ),
            )
            for worker, recorded in zip(before.workers, HUNG.workers, strict=True)
        )
        taken = msgspec.structs.replace(before, taken_at=float(BEGIN_S + after_s), workers=workers)
        return blamed(taken, "hung", "rank_blocked_in_user_code", 1) if for_s > 30 else taken

    return snapshot_at


def straggling(begins_s: int, seed: int) -> Evolve:
    """Rank 2 computes while the others wait for it."""

    def snapshot_at(after_s: int) -> Snapshot:
        now = healthy_at(after_s, seed)

        if after_s <= begins_s:
            return now

        workers = tuple(
            msgspec.structs.replace(worker, phase="backward" if worker.rank == 2 else "grad_reduce")
            for worker in now.workers
        )
        return blamed(msgspec.structs.replace(now, workers=workers), "degraded", "straggler", 2)

    return snapshot_at


def restarting(begins_s: int, seed: int) -> Evolve:
    """Rank 0 dies; two minutes later there is another group, that goes on from a checkpoint."""

    def snapshot_at(after_s: int) -> Snapshot:
        now = healthy_at(after_s, seed)
        for_s = after_s - begins_s

        if for_s <= 0:
            return now

        if for_s < 120:
            dead = snapshots.changed(healthy_at(begins_s, seed), for_s, rank=0, state="dead")
            return blamed(dead, "degraded", "worker_dead", 0)

        again = snapshots.restarted(now, 0)
        back = snapshots.changed(again, 0, step=(after_s - begins_s) * 2)
        assert back.run is not None
        run = msgspec.structs.replace(back.run, attempt="another")
        return msgspec.structs.replace(back, run=run)

    return snapshot_at


def named(snapshot_at: Evolve, run_id: str) -> Evolve:
    """Return the same snapshots of a run with this id."""

    def other(after_s: int) -> Snapshot:
        snapshot = snapshot_at(after_s)
        assert snapshot.run is not None
        run = msgspec.structs.replace(snapshot.run, id=run_id)
        return msgspec.structs.replace(snapshot, run=run)

    return other


def history(
    name: str, cluster: str, run_id: str, lasts_s: int, begins_s: int, snapshot_at: Evolve
) -> History:
    return History(
        name=name,
        cluster=cluster,
        run_id=run_id,
        lasts_s=lasts_s,
        begins_s=begins_s,
        snapshot_at=named(snapshot_at, run_id),
    )


HISTORIES: Final = (
    history("healthy", "a", "01000000", 3600, 3600, lambda after_s: healthy_at(after_s, 1)),
    history("hang", "a", "feed01", 1800, 600, hanging(600, 2)),
    history("straggler", "b", "01000000", 1800, 600, straggling(600, 3)),
    history("restart", "b", "feed02", 1800, 600, restarting(600, 4)),
)


def spans() -> Iterator[MetricSample]:
    yield m.SPANS_EXPORTED, (), 100
    yield m.SPANS_DROPPED, ("queue",), 0
    yield m.SPANS_DROPPED, ("export",), 0


def openmetrics() -> Iterator[str]:
    """Yield the lines of everything that was scraped."""
    for run in HISTORIES:
        yield from exposed(run)
        yield from neighbours(run)

    yield "# EOF"


def exposed(run: History) -> Iterator[str]:
    board = LatestSample()
    collector = Collector(board, spans)
    target = f'job="dsray",instance="{run.instance}",ray_io_cluster="{run.cluster}"'

    for after_s in range(0, run.lasts_s + 1, EVERY_S):
        board.put(run.snapshot_at(after_s))

        for family in collector.collect():
            for sample in family.samples:
                labels = ",".join(
                    f'{name}="{value}"' for name, value in sample.labels.items() if value
                )
                both = f"{target},{labels}" if labels else target
                yield f"{sample.name}{{{both}}} {float(sample.value)} {BEGIN_S + after_s}"


def neighbours(run: History) -> Iterator[str]:
    """Yield what Ray and DCGM would have exposed of the same nodes and GPUs."""
    seed = next(number for number, each in enumerate(HISTORIES, 1) if each is run)
    ray = f'job="ray",ray_io_cluster="{run.cluster}",SessionName="s"'

    for after_s in range(0, run.lasts_s + 1, EVERY_S):
        at = BEGIN_S + after_s
        yield f'up{{job="dsray",instance="{run.instance}",ray_io_cluster="{run.cluster}"}} 1 {at}'
        yield f'ray_object_store_memory{{{ray},instance="h{seed}",Location="MMAP_SHM"}} 4096 {at}'

        for name, value in (("cpu_utilization", 40), ("mem_used", 4 << 30), ("mem_total", 8 << 30)):
            yield f'ray_node_{name}{{{ray},instance="h{seed}",ip="10.0.0.{seed}"}} {value} {at}'

        for place in range(4):
            uuid = f"GPU-{seed}-{place}"
            yield f'ray_node_gpus_utilization{{{ray},instance="h{seed}",GpuUuid="{uuid}"}} 80 {at}'

            for name, value in (("GPU_UTIL", 80), ("GPU_TEMP", 60), ("XID_ERRORS", 0)):
                yield f'DCGM_FI_DEV_{name}{{job="dcgm",instance="h{seed}",UUID="{uuid}"}} {value} {at}'
