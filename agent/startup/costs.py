"""What the run paid for Ray Train, Ray and DeepSpeed, next to what it got: seconds of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.launchers.start import Milestones, S, StartFacts, StoreTotals
from dsray_inspect.agent.model import Cost, StartName, Startup
from dsray_inspect.agent.sampling.rank_report import OpBuild
from dsray_inspect.agent.startup.phases import ONLY_SUBMIT
from dsray_inspect.agent.startup.ranks import RankStart, length

_FROM_START: tuple[
    Literal["actor_scheduling", "process_start", "imports", "ranks_and_env", "rendezvous"], ...
] = (
    "actor_scheduling",
    "process_start",
    "imports",
    "ranks_and_env",
    "rendezvous",
)
_NO_TIMES = "Ray keeps no times of ray.get and ray.put outside of tasks"
_INSIDE_REPORT = {
    ray.CHECKPOINT_SYNC_SECONDS: "checkpoint barrier",
    ray.CHECKPOINT_TRANSFER_SECONDS: "checkpoint upload",
}


def costs_of(
    startup: Startup | None,
    facts: StartFacts,
    ranks: Sequence[RankStart],
    builds: Sequence[OpBuild] | None,
    train_s: Sequence[Mapping[str, float]] = (),
    *,
    trains_since_ns: int | None,
    now_ns: int,
) -> tuple[Cost, ...]:
    """Return every cost, those that are not known too.

    `builds`: what the ranks said of the ops that DeepSpeed built, None where none could say;
    see `remote.startup_artifacts`.
    """
    parts = {part.name: part.seconds for part in startup.parts} if startup else {}
    why = "its start is not known"
    return (
        *(
            Cost(
                name=name,
                seconds=parts.get(name),
                evidence="Ray's tables and task events, or the controller's log"
                if name in parts
                else why,
            )
            for name in _FROM_START
        ),
        deepspeed_init(parts, ranks),
        op_compile(ranks, builds),
        _object_store(facts.stores),
        serialization(facts),
        report(train_s),
        training(trains_since_ns, now_ns),
    )


def deepspeed_init(parts: dict[StartName, float], ranks: Sequence[RankStart]) -> Cost:
    known = "deepspeed_init" in parts and bool(ranks)
    return Cost(
        name="deepspeed_init",
        seconds=parts["deepspeed_init"] if known else None,
        evidence="recorded by the ranks" if known else ONLY_SUBMIT,
    )


def op_compile(ranks: Sequence[RankStart], builds: Sequence[OpBuild] | None) -> Cost:
    """Return the longest build or load of ops, from the ranks' records, else from build logs."""
    recorded = [
        [span for span in rank.spans if span.name == "op_compile" and span.end_ns] for rank in ranks
    ]

    if ranks:
        longest = max(recorded, key=lambda spans: sum(map(length, spans)))
        return Cost(
            name="op_compile",
            seconds=sum(map(length, longest)) / S,
            detail=", ".join(f"{span.detail} {length(span) / S:.1f}" for span in longest) or None,
            count=len(longest),
            evidence="recorded by the ranks; the wait for another rank's build included",
        )

    if builds is None:
        return Cost(name="op_compile", seconds=None, evidence="no rank could say what was built")

    built = {build.name: build.seconds for build in builds if build.in_this_process}
    return Cost(
        name="op_compile",
        seconds=sum(built.values()),
        detail=", ".join(f"{name} {seconds:.1f}" for name, seconds in built.items()) or None,
        count=len(built),
        evidence="ninja's log beside each op that is loaded",
    )


def serialization(facts: StartFacts) -> Cost:
    """Return what all tasks of the job took to unpickle arguments and to store results."""
    known = facts.serialization

    if known is None:
        why = facts.why or "Ray has forgotten this job's task events"
        return Cost(name="serialization", seconds=None, evidence=why)

    return Cost(
        name="serialization",
        seconds=known.seconds,
        count=known.tasks,
        evidence="arguments and results of the tasks that Ray's task events still hold",
    )


def _object_store(stores: StoreTotals | None) -> Cost:
    """Return what went through the object stores; times of ray.get and ray.put Ray does not keep."""
    if stores is None:
        return Cost(
            name="object_store", seconds=None, evidence=f"{_NO_TIMES}; no node reported sizes"
        )

    return Cost(
        name="object_store",
        seconds=None,
        bytes=stores.created_bytes,
        spilled_bytes=stores.spilled_bytes,
        detail=f"{stores.spill_s:.1f} s of spilling and restoring" if stores.spill_s else None,
        evidence=f"{_NO_TIMES}; sizes are of the ranks' nodes since these began, of all jobs",
    )


def report(train_s: Sequence[Mapping[str, float]]) -> Cost:
    """Return the longest time that a rank was kept by `ray.train.report`, as Ray Train sums it up."""
    if not any(train_s):
        return Cost(name="report", seconds=None, evidence="no rank reported Ray Train's own sums")

    most = max(train_s, key=lambda sums: sums.get(ray.REPORT_SECONDS, 0.0))
    inside = [(word, most.get(name, 0.0)) for name, word in _INSIDE_REPORT.items()]
    return Cost(
        name="report",
        seconds=most.get(ray.REPORT_SECONDS, 0.0),
        detail=", ".join(f"{word} {seconds:.1f}" for word, seconds in inside if seconds) or None,
        evidence="Ray Train's own sums in the ranks",
    )


def training(since_ns: int | None, now_ns: int) -> Cost:
    if since_ns is None:
        return Cost(name="training", seconds=None, evidence="when training began is not known")

    return Cost(
        name="training",
        seconds=max(0, now_ns - since_ns) / S,
        evidence="from the end of the known start until now",
    )


def trains_since(marks: Milestones, ranks: Sequence[RankStart]) -> int | None:
    """Return since when the run trains, as far as is known: its first step, else its function."""
    steps = [rank.stepped_ns for rank in ranks]

    if ranks and all(steps):
        return max(step_ns for step_ns in steps if step_ns)

    return marks.trained_ns
