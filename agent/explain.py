"""Puts two samples and their verdict into one explanation."""

from __future__ import annotations

from typing import Literal

from dsray_inspect.agent.explanation import Explanation, RankSummary
from dsray_inspect.agent.model import Collective, Snapshot, Worker
from dsray_inspect.agent.text import confidence


def explain(samples: tuple[Snapshot, ...]) -> Explanation:
    """Return the explanation from one sample or from two, the newest last."""
    last = samples[-1]
    blamed = set(last.verdict.ranks)
    culprits = tuple(worker for worker in last.workers if worker.rank in blamed)
    victims = [
        (worker, waited)
        for worker in last.workers
        if worker.rank not in blamed and (waited := worker.waiting_in) is not None
    ]
    sure, because = _confidence(samples)
    waits = [waited for _, waited in victims]
    left = [wait.timeout_s - wait.age_s for wait in waits if wait.timeout_s is not None]
    finding = next((found for found in last.findings if found.cause == last.verdict.cause), None)
    return Explanation(
        verdict=last.verdict,
        culprits=tuple(_summary(worker, worker.waiting_in) for worker in culprits),
        victims=tuple(_summary(worker, waited) for worker, waited in victims),
        graph=last.graph,
        lasts_s=max((wait.age_s for wait in waits), default=None),
        gives_up_in_s=min(left, default=None),
        sure=sure,
        sure_because=because,
        step_s=_step_s(samples),
        findings=last.findings,
        next_step=finding.next_step if finding else "",
        snapshot=last,
    )


def _summary(worker: Worker, collective: Collective | None) -> RankSummary:
    return RankSummary(
        rank=worker.rank,
        hostname=worker.hostname or worker.node_ip,
        gpus=tuple(gpu.slot for gpu in worker.gpus),
        pid=worker.pid,
        function=worker.function,
        phase=worker.phase,
        step=worker.step,
        idle_s=worker.idle_s,
        collective=collective,
    )


def _confidence(samples: tuple[Snapshot, ...]) -> tuple[Literal["yes", "no", "not asked"], str]:
    """Return whether the verdict of the last sample holds, and what that rests on."""
    last = samples[-1]

    if last.verdict.state == "unknown":
        return "no", confidence.UNPROVEN

    if last.verdict.cause == "unknown":
        return "no", confidence.NOT_KNOWN

    if len(samples) < 2 or last.verdict.cause is None:
        return "not asked", confidence.ONE_IS_ENOUGH

    first = samples[0]
    apart_s = last.taken_at - first.taken_at

    if (first.verdict.cause, first.verdict.ranks) != (last.verdict.cause, last.verdict.ranks):
        return "no", confidence.said_otherwise(first.verdict, apart_s)

    if not last.verdict.ranks:
        return "yes", confidence.agreed(apart_s)

    before, now = _stacks_of(first), _stacks_of(last)

    if any(before.get(rank) != now.get(rank) for rank in last.verdict.ranks):
        return "no", confidence.stack_changed(apart_s)

    return "yes", confidence.confirmed(apart_s)


def _stacks_of(snapshot: Snapshot) -> dict[int, tuple[tuple[str, int], ...]]:
    """Return the stack of each rank's training thread."""
    found: dict[int, tuple[tuple[str, int], ...]] = {}

    for group in snapshot.stacks.groups:
        stack = tuple((frame.name, frame.line) for frame in group.frames)

        for rank in group.ranks if group.role == "worker" else ():
            found.setdefault(rank, stack)

    return found


def _step_s(samples: tuple[Snapshot, ...]) -> float | None:
    """Return the seconds a step takes, by the rank that made most steps between two samples."""
    if len(samples) < 2:
        return None

    before = {worker.rank: worker.step for worker in samples[0].workers}
    made = [
        worker.step - start
        for worker in samples[-1].workers
        if worker.step is not None and (start := before.get(worker.rank)) is not None
    ]
    most = max(made, default=0)
    return (samples[-1].taken_at - samples[0].taken_at) / most if most > 0 else None
