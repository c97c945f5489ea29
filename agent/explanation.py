"""Why a run stands where it stands: two looks and their verdict, put into one account."""

from __future__ import annotations

from typing import Final, Literal

from dsray_inspect.agent.model import (
    Collective,
    Finding,
    Function,
    Phase,
    Record,
    Snapshot,
    Verdict,
    WaitGraph,
    Worker,
)

SCHEMA_VERSION: Final = 1


class RankSummary(Record, frozen=True, kw_only=True):
    """A rank in the account: where it runs, what it is in."""

    rank: int | None
    hostname: str
    gpus: tuple[int, ...]
    pid: int
    function: Function | None
    phase: Phase
    step: int | None
    idle_s: float | None
    collective: Collective | None
    """The collective it waits in, None when it is in none."""


class Explanation(Record, frozen=True, kw_only=True):
    """The document of `why --json`."""

    verdict: Verdict
    culprits: tuple[RankSummary, ...]
    victims: tuple[RankSummary, ...]
    graph: WaitGraph
    """Everything that waits, and what it waits for."""
    lasts_s: float | None
    """For how long the victims have waited."""
    gives_up_in_s: float | None
    """When the first of their process groups gives up."""
    sure: Literal["yes", "no", "not asked"]
    sure_because: str
    step_s: float | None
    """Seconds a step, from both looks; None when no rank made one."""
    findings: tuple[Finding, ...]
    next_step: str
    snapshot: Snapshot
    schema_version: Literal[1] = SCHEMA_VERSION


def explain(looks: tuple[Snapshot, ...]) -> Explanation:
    """Return the account of one look or of two, the newest last."""
    last = looks[-1]
    blamed = set(last.verdict.ranks)
    culprits = tuple(one for one in last.workers if one.rank in blamed)
    victims = [
        (one, waited)
        for one in last.workers
        if one.rank not in blamed and (waited := one.waiting_in) is not None
    ]
    sure, because = confidence(looks)
    waits = [waited for _, waited in victims]
    left = [one.timeout_s - one.age_s for one in waits if one.timeout_s is not None]
    finding = next((one for one in last.findings if one.cause == last.verdict.cause), None)
    return Explanation(
        verdict=last.verdict,
        culprits=tuple(party(one, one.waiting_in) for one in culprits),
        victims=tuple(party(one, waited) for one, waited in victims),
        graph=last.graph,
        lasts_s=max((one.age_s for one in waits), default=None),
        gives_up_in_s=min(left, default=None),
        sure=sure,
        sure_because=because,
        step_s=step_s(looks),
        findings=last.findings,
        next_step=finding.next_step if finding else "",
        snapshot=last,
    )


def party(worker: Worker, collective: Collective | None) -> RankSummary:
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


def confidence(looks: tuple[Snapshot, ...]) -> tuple[Literal["yes", "no", "not asked"], str]:
    """Return whether what the last look says holds, and what makes us say so."""
    last = looks[-1]

    if last.verdict.state == "unknown":
        return "no", "what was seen does not prove a cause"

    if len(looks) < 2 or not last.verdict.ranks:
        return "not asked", "one look is enough for it"

    first = looks[0]
    apart_s = last.taken_at - first.taken_at

    if (first.verdict.cause, first.verdict.ranks) != (last.verdict.cause, last.verdict.ranks):
        return "no", f"a look {apart_s:.1f} s before said otherwise: {first.verdict.summary}"

    before, now = stacks_of(first), stacks_of(last)

    if any(before.get(rank) != now.get(rank) for rank in last.verdict.ranks):
        return "no", f"its stack moved within {apart_s:.1f} s: it is slow, or it polls"

    return "yes", f"the same verdict and the same stack in 2 looks, {apart_s:.1f} s apart"


def stacks_of(snapshot: Snapshot) -> dict[int, tuple[tuple[str, int], ...]]:
    """Return where the training thread of each rank stands."""
    found: dict[int, tuple[tuple[str, int], ...]] = {}

    for group in snapshot.stacks.groups:
        stack = tuple((frame.name, frame.line) for frame in group.frames)

        for rank in group.ranks if group.role == "worker" else ():
            found.setdefault(rank, stack)

    return found


def step_s(looks: tuple[Snapshot, ...]) -> float | None:
    """Return the seconds a step takes, by the rank that made most steps between two looks."""
    if len(looks) < 2:
        return None

    before = {one.rank: one.step for one in looks[0].workers}
    made = [
        worker.step - start
        for worker in looks[-1].workers
        if worker.step is not None and (start := before.get(worker.rank)) is not None
    ]
    most = max(made, default=0)
    return (looks[-1].taken_at - looks[0].taken_at) / most if most > 0 else None
