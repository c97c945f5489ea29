"""Windows of snapshots: recorded ones (`tests/golden/snapshots`), continued by code."""

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
    WaitEdge,
    WaitGraph,
    WaitNode,
    Worker,
)
from dsray_inspect.tui.source import Post

GOLDEN = Path(__file__).parents[1] / "golden" / "snapshots"
EVERY_S = 0.5
SNAPSHOTS = 30
STEP: tuple[Phase, ...] = (
    "data",
    "forward",
    "forward",
    "backward",
    "grad_reduce",
    "optimizer_step",
)
DENIED = "no ptrace access (the process runs as user 0, its reader as user 1000)"
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


def window(
    last: Snapshot, count: int, change: Callable[[Snapshot, int], Snapshot]
) -> list[Snapshot]:
    """Return `count` snapshots that end with `last`; `change` gets how many come after each."""
    return [
        change(replace(last, taken_at=last.taken_at - back * EVERY_S), back)
        for back in reversed(range(count))
    ]


def each_worker(snapshot: Snapshot, change: Callable[[Worker], Worker], **more: Any) -> Snapshot:
    return replace(snapshot, workers=tuple(map(change, snapshot.workers)), **more)


def trains(snapshot: Snapshot, back: int) -> Snapshot:
    """Return an earlier snapshot of a run that makes four steps between snapshots."""

    def earlier(worker: Worker) -> Worker:
        at = (worker.rank or 0) + 7 * back
        step = max(0, worker.step - 4 * back) if worker.step is not None else None
        return replace(worker, step=step, phase=STEP[at % len(STEP)], idle_s=0.01, collectives=())

    steps = [worker.step for worker in snapshot.workers if worker.step is not None]
    step = max(0, max(steps, default=0) - 4 * back)
    fine = Verdict(
        state="healthy",
        cause=None,
        ranks=(),
        summary=f"{len(snapshot.workers)} ranks at step {step}; last progress 10 ms ago.",
    )
    return each_worker(snapshot, earlier, findings=(), verdict=fine, graph=WaitGraph())


def healthy() -> list[Event]:
    return sampled(window(recorded("healthy"), SNAPSHOTS, trains))


def hung() -> list[Event]:
    """Training, then five snapshots in which rank 1 sleeps; the last one as recorded."""
    last = recorded("hung")

    def change(snapshot: Snapshot, back: int) -> Snapshot:
        return trains(snapshot, back - 4) if back > 4 else aged(snapshot, back * EVERY_S)

    first, *others = sampled(window(last, SNAPSHOTS, change))
    return [first, HistoryLoaded(history=PAST), *others]


def aged(snapshot: Snapshot, by_s: float) -> Snapshot:
    """Return an earlier snapshot of the same hang."""

    def younger(worker: Worker) -> Worker:
        idle_s = None if worker.idle_s is None else worker.idle_s - by_s
        waits = tuple(replace(each, age_s=each.age_s - by_s) for each in worker.collectives)
        return replace(worker, idle_s=idle_s, collectives=waits)

    return each_worker(snapshot, younger)


def restarting() -> list[Event]:
    """Training, then no workers, then new processes that form their process group."""
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

    return sampled(window(last, SNAPSHOTS, change))


def blind() -> list[Event]:
    """Rank 1 does not answer, and py-spy has no permission to read it."""
    last = recorded("healthy")
    missing = Verdict(
        state="unknown",
        cause=None,
        ranks=(),
        summary=f"1 of 2 ranks could be seen: {DENIED}.",
    )

    def unread(worker: Worker) -> Worker:
        if worker.rank != 1:
            return worker

        why = replace(
            worker.evidence,
            worker=BUSY,
            stack=DENIED,
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

    return sampled(window(last, SNAPSHOTS, change))


def without_stack_of(snapshot: Snapshot, rank: int) -> Snapshot:
    groups = tuple(group for group in snapshot.stacks.groups if group.ranks != (rank,))
    return replace(snapshot, stacks=Stacks(groups=groups))


def lost() -> list[Event]:
    """Rank 1's node is lost, and then the cluster no longer answers."""
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
    return [*sampled(window(here, SNAPSHOTS, change)), silent]


def pending() -> list[Event]:
    return sampled(window(recorded("pending"), 3, lambda snapshot, _: snapshot))


def ended() -> list[Event]:
    """A run that trained and has ended."""
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


def sampled(snapshots: Sequence[Snapshot]) -> list[Event]:
    return [SampleTaken(snapshot=snapshot) for snapshot in snapshots]


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
    """Return a snapshot of a hung job with many ranks, eight per node, copied from the recorded ones."""
    base = recorded("hung")
    waiting, culprit = base.workers[0], base.workers[1]
    cause = replace(base.findings[0], ranks=tuple(blamed))
    workers = tuple(
        worker_of_many(culprit if rank in blamed else waiting, rank, ranks, step)
        for rank in range(ranks)
    )
    nodes = tuple(
        replace(
            base.nodes[0], node_id=f"node{n}", ip=f"10.0.{n // 256}.{n % 256}", hostname=f"host-{n}"
        )
        for n in range(-(-ranks // 8))
    )
    rest = tuple(rank for rank in range(ranks) if rank not in blamed)
    groups = [group for group in base.stacks.groups if group.role != "worker"]
    own = [group for group in base.stacks.groups if group.role == "worker"]
    groups += [replace(own[0], ranks=rest), replace(own[1], ranks=tuple(blamed))]
    return replace(
        base,
        taken_at=base.taken_at - back * EVERY_S,
        workers=workers,
        nodes=nodes,
        stacks=Stacks(groups=tuple(groups)),
        findings=(cause,),
        verdict=replace(base.verdict, ranks=tuple(blamed)),
        graph=graph_of_many(rest, blamed),
    )


def graph_of_many(waiting: Sequence[int], blamed: Sequence[int]) -> WaitGraph:
    """Return the graph of ranks that wait in one collective which others have not entered."""
    collective = "all_reduce #69 (16,640 float, group 1)"
    recorder = f"flight recorder, {collective}"
    ranks = [WaitNode(name=f"rank {rank}", kind="rank") for rank in (*waiting, *blamed)]
    entered = [
        WaitEdge(
            waiter=f"rank {rank}",
            awaited=collective,
            because="in it for 1 min 51 s",
            evidence=recorder,
        )
        for rank in waiting
    ]
    missing = [
        WaitEdge(
            waiter=collective,
            awaited=f"rank {rank}",
            because="has not come to it",
            evidence=f"alive, user, in load_batch (train.py:81), rank {rank}",
        )
        for rank in blamed
    ]
    return WaitGraph(
        nodes=(*ranks, WaitNode(name=collective, kind="process_group")),
        edges=(*entered, *missing),
        roots=tuple(f"rank {rank}" for rank in blamed),
    )


def worker_of_many(like: Worker, rank: int, ranks: int, step: int) -> Worker:
    group: tuple[Collective, ...] = tuple(replace(each, group_id=None) for each in like.collectives)
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
    """A source that posts recorded events as if they came from a running job."""

    label = "live 2 Hz"
    is_live = True

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = tuple(events)
        self.asked: list[tuple[str, ...]] = []
        self.post: Post | None = None
        self.log: tuple[str, str] = ("", "Empty answer.")
        """The answer to a request for a log, given once `may_answer` is set."""
        self.may_answer = threading.Event()

    def run(self, post: Post) -> None:
        from dsray_inspect.tui.messages import EventsArrived

        self.post = post
        post(EventsArrived(self._events))

    def ask(self, *args: str) -> tuple[str, str]:
        self.asked.append(args)

        if "--log" in args:
            self.may_answer.wait(20)
            return self.log

        return "rank 1\n  load_batch\n    options = {...}\n", ""

    def close(self) -> None:
        pass
