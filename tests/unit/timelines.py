"""A timeline as a two-rank ZeRO-2 job gives it, small enough to be checked by eye."""

from __future__ import annotations

from dsray_inspect.agent.model import Job, Run
from dsray_inspect.agent.timeline import Process, Span, SpanKind, Timeline, Value
from dsray_inspect.exporters import semconv

MS = 1_000_000
BEGIN_NS = 1_764_000_000_123_456_789
DRIVER, RANK_0, RANK_1, RANK_1_AGAIN = range(4)

JOB = Job(submission_id="train-1", job_id="01000000", entrypoint="python train.py", state="RUNNING")
RUN = Run(id="a1b2c3d4e5", name="night", attempt="f0e1d2", state="RUNNING")
PROCESSES = (
    Process(
        role="driver", rank=None, pid=10, hostname="host-a", node_id="aa" * 14, node_ip="10.0.0.1"
    ),
    Process(
        role="worker",
        rank=0,
        pid=115,
        hostname="host-a",
        node_id="aa" * 14,
        node_ip="10.0.0.1",
        actor_id="a31f",
        worker_id="w0",
        gpus=("GPU-11111111-aaaa",),
    ),
    Process(
        role="worker",
        rank=1,
        pid=115,
        hostname="host-b",
        node_id="bb" * 14,
        node_ip="10.0.0.2",
        actor_id="77c0",
        worker_id="w1",
        gpus=("1",),
    ),
)


def span(
    name: str,
    kind: SpanKind,
    process: int,
    times_ms: tuple[float, float | None],
    *,
    step: int | None = None,
    **attributes: Value,
) -> Span:
    start, end = times_ms
    return Span(
        name=name,
        kind=kind,
        process=process,
        start_ns=BEGIN_NS + round(start * MS),
        end_ns=None if end is None else BEGIN_NS + round(end * MS),
        step=step,
        attributes=attributes,
    )


def collective(
    process: int, sequence: int, times_ms: tuple[float, float | None], step: int, group: str = "1"
) -> Span:
    reduction = span("all_reduce", "collective", process, times_ms, step=step)
    reduction.attributes.update(
        {
            semconv.COLLECTIVE_OPERATION: "all_reduce",
            semconv.COLLECTIVE_GROUP: group,
            semconv.COLLECTIVE_SEQUENCE: sequence,
            semconv.COLLECTIVE_SIZE: 66_560,
        }
    )
    return reduction


def one_step(process: int, step: int, at: float, late: float) -> list[Span]:
    """Return a step of 50 ms; `late`: how much later than at 20 ms it enters its collective."""
    return [
        span("train.step", "step", process, (at, at + 50), step=step),
        span("data", "phase", process, (at, at + 4), step=step),
        span("forward", "phase", process, (at + 4, at + 10), step=step),
        span("backward", "phase", process, (at + 10, at + 40), step=step),
        span("grad_reduce", "phase", process, (at + 20, at + 39), step=step),
        collective(process, 2 * step, (at + 20 + late, at + 30), step),
        # Overlaps the one before it, as asynchronous ones do.
        collective(process, 2 * step + 1, (at + 25 + late, at + 38), step),
        span("optimizer_step", "phase", process, (at + 40, at + 50), step=step),
    ]


def two_ranks() -> Timeline:
    """Return start-up and two whole steps; in the third rank 1 stays in its own code."""
    spans = [
        span("fit", "startup", DRIVER, (0, 2_000)),
        span("actor_creation", "startup", DRIVER, (10, 900)),
        *one_step(RANK_0, 0, 2_100, 0),
        *one_step(RANK_1, 0, 2_101, 1.5),
        *one_step(RANK_0, 1, 2_150, 0.25),
        *one_step(RANK_1, 1, 2_151, 0),
        span("train.step", "step", RANK_0, (2_200, None), step=2),
        span("backward", "phase", RANK_0, (2_204, None), step=2),
        collective(RANK_0, 4, (2_210, None), 2),
        span("train.step", "step", RANK_1, (2_201, None), step=2),
        span("data", "phase", RANK_1, (2_201, None), step=2),
        span("report", "report", RANK_0, (2_199, 2_200), step=1),
    ]
    return Timeline(
        job=JOB,
        run=RUN,
        processes=PROCESSES,
        spans=tuple(sorted(spans, key=lambda span: span.start_ns)),
        dropped=3,
        notes=("collectives older than 2,000 are gone",),
    )
