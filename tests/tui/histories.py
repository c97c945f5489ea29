"""Windows of looks: recorded snapshots (`tests/golden/snapshots`), carried on by code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dsray_inspect.agent.feed import Ended, Event, HistoryLoaded, SampleFailed, SampleTaken
from dsray_inspect.agent.history import CELLS, History, RankHistory
from dsray_inspect.agent.model import (
    Collective,
    Finding,
    Node,
    Phase,
    Snapshot,
    Stacks,
    Verdict,
    Worker,
)
from dsray_inspect.agent.remote.pyspy import NEEDS_PTRACE
from dsray_inspect.tui.source import Post

GOLDEN = Path(__file__).parents[1] / "golden" / "snapshots"
EVERY_S = 0.5
LOOKS = 30
STEP: tuple[Phase, ...] = (
    "data",
    "forward",
    "forward",
    "backward",
    "grad_reduce",
    "optimizer_step",
)
BUSY = "its main thread did not answer in 2.0 s: busy, or the GIL is held"
PAST = History(
    from_ns=1_764_000_000_000_000_000,
    until_ns=1_764_000_012_000_000_000,
    steps=30,
    step_s=0.4,
    ranks=(
        RankHistory(rank=0, cells="rrrrr." * (CELLS // 6), late_s=0.04),
        RankHistory(rank=1, cells="r....." * (CELLS // 6), late_s=7.9),
    ),
)
"""Rank 1 kept rank 0 waiting for most of it."""
replace = msgspec.structs.replace


def recorded(name: str) -> Snapshot:
    return msgspec.json.decode((GOLDEN / f"{name}.json").read_bytes(), type=Snapshot)


def looks(
    last: Snapshot, count: int, change: Callable[[Snapshot, int], Snapshot]
) -> list[Snapshot]:
    """Return `count` looks that end with `last`; `change` gets how many looks each is before it."""
    return [
        change(replace(last, taken_at=last.taken_at - back * EVERY_S), back)
        for back in reversed(range(count))
    ]


def each_worker(snapshot: Snapshot, change: Callable[[Worker], Worker], **more: Any) -> Snapshot:
    return replace(snapshot, workers=tuple(map(change, snapshot.workers)), **more)


def trains(snapshot: Snapshot, back: int) -> Snapshot:
    """Return the look of a run that made four steps from each look to the next."""

    def earlier(worker: Worker) -> Worker:
        at = (worker.rank or 0) + 7 * back
        step = max(0, worker.step - 4 * back) if worker.step is not None else None
        return replace(worker, step=step, phase=STEP[at % len(STEP)], idle_s=0.01, collectives=())

    steps = [one.step for one in snapshot.workers if one.step is not None]
    step = max(0, max(steps, default=0) - 4 * back)
    fine = Verdict(
        state="healthy",
        cause=None,
        ranks=(),
        summary=f"{len(snapshot.workers)} ranks at step {step}; last active 10 ms ago.",
    )
    return each_worker(snapshot, earlier, findings=(), verdict=fine)


def healthy() -> list[Event]:
    return seen(looks(recorded("healthy"), LOOKS, trains))


def hung() -> list[Event]:
    """Training, then five looks at which rank 1 sleeps; the last one as it was recorded."""
    last = recorded("hung")

    def change(snapshot: Snapshot, back: int) -> Snapshot:
        return trains(snapshot, back - 4) if back > 4 else aged(snapshot, back * EVERY_S)

    first, *others = seen(looks(last, LOOKS, change))
    return [first, HistoryLoaded(history=PAST), *others]


def aged(snapshot: Snapshot, by_s: float) -> Snapshot:
    """Return a look at the same hang, so much earlier."""

    def younger(worker: Worker) -> Worker:
        idle_s = None if worker.idle_s is None else worker.idle_s - by_s
        waits = tuple(replace(one, age_s=one.age_s - by_s) for one in worker.collectives)
        return replace(worker, idle_s=idle_s, collectives=waits)

    return each_worker(snapshot, younger)


def restarting() -> list[Event]:
    """Training, then no workers, then new processes that join their process group."""
    last = recorded("healthy")
    joining = Verdict(
        state="starting",
        cause=None,
        ranks=(),
        summary="The ranks are in set-up: init_process_group.",
    )

    def again(worker: Worker) -> Worker:
        return replace(
            worker,
            pid=worker.pid + 4000,
            actor_id=worker.actor_id[::-1],
            step=None,
            phase="init_process_group",
            function=None,
            deepspeed=None,
            idle_s=0.4,
            collectives=(),
        )

    def change(snapshot: Snapshot, back: int) -> Snapshot:
        if back > 9:
            return trains(snapshot, back - 9)

        gone = replace(snapshot, stacks=Stacks(), findings=(), verdict=joining)
        return replace(gone, workers=()) if back > 6 else each_worker(gone, again)

    return seen(looks(last, LOOKS, change))


def blind() -> list[Event]:
    """Rank 1 does not answer, and py-spy has no right to look at it."""
    last = recorded("healthy")
    missing = Verdict(
        state="unknown",
        cause=None,
        ranks=(),
        summary=f"1 of 2 ranks could be seen: {NEEDS_PTRACE}.",
    )

    def unread(worker: Worker) -> Worker:
        if worker.rank != 1:
            return worker

        why = replace(
            worker.evidence,
            worker=BUSY,
            stack=NEEDS_PTRACE,
            env=BUSY,
            deepspeed=BUSY,
            collectives=BUSY,
        )
        return replace(
            worker,
            evidence=why,
            function=None,
            phase="unknown",
            step=None,
            env={},
            deepspeed=None,
            idle_s=None,
            stack_source=None,
        )

    def change(snapshot: Snapshot, back: int) -> Snapshot:
        shown = without_stack_of(trains(snapshot, back), 1)
        return each_worker(shown, unread, verdict=missing)

    return seen(looks(last, LOOKS, change))


def without_stack_of(snapshot: Snapshot, rank: int) -> Snapshot:
    groups = tuple(one for one in snapshot.stacks.groups if one.ranks != (rank,))
    return replace(snapshot, stacks=Stacks(groups=groups))


def lost() -> list[Event]:
    """Rank 1's node goes away, and then the cluster does not answer any more."""
    here = recorded("healthy")
    other = Node(
        node_id="c0ffee" * 9,
        ip="192.0.2.3",
        hostname="host-b",
        gpus=(),
        agent=replace(here.nodes[0].agent, state="actor", detail="read by a node agent"),
    )
    summary = "Rank 1 has died: its node host-b is lost."
    died = Finding(
        cause="worker_dead",
        severity="error",
        ranks=(1,),
        summary=summary,
        evidence=("Ray's tables have actor 50d265 as DEAD: its node has died",),
        next_step="ray list actors --filter state=DEAD --detail",
    )
    failed = Verdict(state="failed", cause="worker_dead", ranks=(1,), summary=summary)

    def moved(worker: Worker) -> Worker:
        elsewhere = {"node_id": other.node_id, "node_ip": other.ip, "hostname": other.hostname}
        return replace(worker, **elsewhere) if worker.rank == 1 else worker

    def dead(worker: Worker) -> Worker:
        gone = {"state": "dead", "phase": "unknown", "function": None, "idle_s": None}
        return replace(worker, **gone) if worker.rank == 1 else replace(worker, idle_s=4.0)

    def change(snapshot: Snapshot, back: int) -> Snapshot:
        shown = each_worker(trains(snapshot, back), moved, nodes=(*snapshot.nodes, other))

        if back > 5:
            return shown

        nodes = (*snapshot.nodes, replace(other, alive=False))
        gone = without_stack_of(replace(shown, nodes=nodes, findings=(died,), verdict=failed), 1)
        return each_worker(gone, dead)

    silent = SampleFailed(
        why="The GCS at 192.0.2.2:6379 does not answer.",
        help_text="",
        failures=2,
        at=here.taken_at + 12,
    )
    return [*seen(looks(here, LOOKS, change)), silent]


def pending() -> list[Event]:
    return seen(looks(recorded("pending"), 3, lambda snapshot, _: snapshot))


def ended() -> list[Event]:
    """A run that trained and is over."""
    last = recorded("healthy")
    over = replace(
        last,
        taken_at=last.taken_at + 1,
        job=replace(last.job, state="SUCCEEDED"),
        stacks=Stacks(),
        findings=(),
        verdict=Verdict(state="finished", cause=None, ranks=(), summary="The job has succeeded."),
    )
    return [*healthy(), SampleTaken(snapshot=over), Ended(snapshot=over)]


def seen(snapshots: Sequence[Snapshot]) -> list[Event]:
    return [SampleTaken(snapshot=one) for one in snapshots]


WINDOWS: dict[str, Callable[[], list[Event]]] = {
    "healthy": healthy,
    "hung": hung,
    "restarting": restarting,
    "blind": blind,
    "lost": lost,
    "pending": pending,
    "ended": ended,
}


def many(ranks: int, *, blamed: Sequence[int] = (), step: int = 20, back: int = 0) -> Snapshot:
    """Return one look at a hung job of so many ranks, eight a node, made of the recorded ones."""
    base = recorded("hung")
    waiting, culprit = base.workers[0], base.workers[1]
    cause = replace(base.findings[0], ranks=tuple(blamed))
    workers = tuple(
        one_of_many(culprit if rank in blamed else waiting, rank, ranks, step)
        for rank in range(ranks)
    )
    nodes = tuple(
        replace(
            base.nodes[0], node_id=f"node{n}", ip=f"10.0.{n // 256}.{n % 256}", hostname=f"host-{n}"
        )
        for n in range(-(-ranks // 8))
    )
    rest = tuple(rank for rank in range(ranks) if rank not in blamed)
    groups = [one for one in base.stacks.groups if one.role != "worker"]
    ours = [one for one in base.stacks.groups if one.role == "worker"]
    groups += [replace(ours[0], ranks=rest), replace(ours[1], ranks=tuple(blamed))]
    return replace(
        base,
        taken_at=base.taken_at - back * EVERY_S,
        workers=workers,
        nodes=nodes,
        stacks=Stacks(groups=tuple(groups)),
        findings=(cause,),
        verdict=replace(base.verdict, ranks=tuple(blamed)),
    )


def one_of_many(like: Worker, rank: int, ranks: int, step: int) -> Worker:
    group: tuple[Collective, ...] = tuple(replace(one, ranks=()) for one in like.collectives)
    return replace(
        like,
        rank=rank,
        local_rank=rank % 8,
        node_rank=rank // 8,
        world_size=ranks,
        actor_id=f"{rank:06x}{like.actor_id[6:]}",
        pid=1000 + rank,
        node_id=f"node{rank // 8}",
        node_ip=f"10.0.{rank // 8 // 256}.{rank // 8 % 256}",
        hostname=f"host-{rank // 8}",
        gpus=(replace(like.gpus[0], slot=rank % 8),),
        step=step,
        collectives=group,
    )


class Live:
    """A source that tells recorded events as if they came from a job just now."""

    label = "live 2 Hz"
    is_live = True

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = tuple(events)
        self.asked: list[tuple[str, ...]] = []
        self.post: Post | None = None
        self.log: tuple[str, str] = ("", "Nothing came.")
        """What is answered to who asks for a log, and when: not before `may_answer` is set."""
        self.may_answer = threading.Event()

    def run(self, post: Post) -> None:
        from dsray_inspect.tui.messages import Arrived

        self.post = post
        post(Arrived(self._events))

    def ask(self, *words: str) -> tuple[str, str]:
        self.asked.append(words)

        if "--log" in words:
            self.may_answer.wait(20)
            return self.log

        return "rank 1\n  load_batch\n    options = {...}\n", ""

    def close(self) -> None:
        pass
