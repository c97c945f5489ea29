"""Puts one sample together: where everything is and what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from dsray_inspect.agent.assemble.advances import Advance, ProcessKey, advances_of
from dsray_inspect.agent.assemble.dump_notes import dump_notes
from dsray_inspect.agent.assemble.groups import groups_of
from dsray_inspect.agent.assemble.ranks import members_of
from dsray_inspect.agent.assemble.role_waits import (
    controller_state,
    controller_waits_on,
    driver_waits_on,
    main_thread,
    telling_thread,
)
from dsray_inspect.agent.assemble.threads import ThreadDump, threads_of
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.gc_pause import without_collector
from dsray_inspect.agent.handles import JobHandle, ProcessHandle, RunHandle
from dsray_inspect.agent.model import (
    Agent,
    Controller,
    Driver,
    Gpu,
    Job,
    Node,
    Role,
    Run,
    Snapshot,
    Stacks,
    Verdict,
)
from dsray_inspect.agent.sampling.node_report import NodeReport
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.process_probe import NOT_PROBED
from dsray_inspect.agent.sampling.rank_report import ControllerReport
from dsray_inspect.agent.stacks.merge import Entry, group
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import Unavailable

T = TypeVar("T")

ENDINGS = ("SUCCEEDED", "FAILED", "STOPPED")
RUN_ENDINGS = ("FINISHED", "ERRORED", "ABORTED")
"""States of a run that is over, though its controller may still be there to say so."""
NOT_JUDGED = Verdict(state="unknown", cause=None, ranks=(), summary="not judged")


class AnalysisInput(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A snapshot before its findings, with what only detectors need."""

    snapshot: Snapshot
    observation: Observation
    members: tuple[RankContext, ...]
    driver: ThreadDump
    controller: ThreadDump
    earlier: AnalysisInput | None = None
    """The sample before this one in the same session, without its own earlier ones."""
    advances: Mapping[ProcessKey, Advance] = {}
    """What each rank has last been seen to do, in this sample or in any before it."""

    def view(self, make: Callable[[AnalysisInput], T]) -> T:
        """Return what `make` makes of this sample, worked out once for all who ask."""
        views: dict[object, Any] = self.__dict__.setdefault("views", {})

        if make not in views:
            views[make] = make(self)

        found: T = views[make]
        return found


@without_collector
def assemble(
    observation: Observation, *, all_threads: bool = False, earlier: AnalysisInput | None = None
) -> AnalysisInput:
    """Return the snapshot without findings and verdict."""
    groups = groups_of(observation)
    known = earlier.advances if earlier else {}
    entered = {key for key, advance in known.items() if advance.entered_at is not None}
    members = members_of(observation, groups, entered)
    driver_seen = threads_of((), observation.driver)
    controller = observation.actors.controller if observation.actors else None
    controller_seen = controller_threads(observation, controller)
    controller_pid = controller.pid if controller else 0
    entries = [
        *role_entries("driver", observation.job.driver_pid, driver_seen, all_threads),
        *role_entries("controller", controller_pid, controller_seen, all_threads),
        *worker_entries(members, all_threads),
    ]
    snapshot = Snapshot(
        taken_at=observation.taken_at,
        took_s=observation.took_s,
        job=job_of(observation),
        run=run_of(observation),
        driver=driver_of(observation.job, driver_seen),
        controller=controller_of(observation, controller_seen),
        nodes=nodes_of(observation),
        workers=tuple(member.worker for member in members),
        groups=groups,
        stacks=Stacks(groups=group(entries)),
        findings=(),
        verdict=NOT_JUDGED,
        notes=(
            *observation.notes,
            *driver_notes(observation, driver_seen),
            *dump_notes(observation.node_reports.values()),
        ),
    )
    return AnalysisInput(
        snapshot=snapshot,
        observation=observation,
        members=tuple(members),
        driver=driver_seen,
        controller=controller_seen,
        earlier=msgspec.structs.replace(earlier, earlier=None) if earlier else None,
        advances=advances_of(members, known, observation.taken_at),
    )


def controller_threads(observation: Observation, controller: ProcessHandle | None) -> ThreadDump:
    report = observation.controller
    return threads_of(
        report.threads if isinstance(report, ControllerReport) else (),
        observation.process(controller.node_id, controller.pid) if controller else NOT_PROBED,
    )


def job_of(observation: Observation) -> Job:
    row = observation.job
    return Job(
        submission_id=row.submission_id,
        job_id=row.job_id,
        entrypoint=row.entrypoint,
        state=job_state(observation),
    )


def job_state(observation: Observation) -> str:
    """Return RUNNING, how Ray says that the job ended, or FINISHED where it does not say."""
    if not observation.job.is_dead:
        return "RUNNING"

    # The job manager notices a driver's end a moment later than the GCS.
    status = observation.submission.status if observation.submission else ""
    return status if status in ENDINGS else "FINISHED"


def driver_of(job: JobHandle, seen: ThreadDump) -> Driver | None:
    if not job.driver_pid:
        return None

    waiting_on = driver_waits_on(seen.threads)
    return Driver(pid=job.driver_pid, node_ip=job.driver_ip, waiting_on=waiting_on)


def driver_notes(observation: Observation, seen: ThreadDump) -> list[str]:
    if observation.job.is_dead or not observation.job.driver_pid or seen.threads:
        return []

    return [f"The driver's stack was not seen: {seen.why}."]


def role_entries(role: Role, pid: int, seen: ThreadDump, all_threads: bool) -> list[Entry]:
    """Return the stacks of driver or controller: the main thread's, or all."""
    main = telling_thread(seen.threads) if role == "controller" else main_thread(seen.threads)
    shown: Sequence[Thread] = seen.threads if all_threads else ([main] if main else [])
    return [Entry(rank=None, role=role, pid=pid, thread=thread) for thread in shown]


def worker_entries(members: Iterable[RankContext], all_threads: bool) -> Iterator[Entry]:
    """Yield the stacks of ranks: their training threads', or all with those of their children."""
    for member in members:
        rank, pid = member.worker.rank, member.worker.pid

        if all_threads:
            for thread in member.seen.threads:
                yield Entry(rank, "worker", pid, thread)
        elif member.training is not None:
            yield Entry(rank, "worker", pid, member.training)

        for thread in member.children:
            yield Entry(rank, "child", thread.pid, thread)


def run_of(observation: Observation) -> Run | None:
    actors = observation.actors

    if actors is None:
        return None

    known = observation.controller
    report = known if isinstance(known, ControllerReport) else ControllerReport()
    return Run(
        id=report.run_id,
        name=report.run_name or actors.name,
        attempt=report.attempt,
        state=report.state or run_state(observation.job, actors),
    )


def run_state(job: JobHandle, actors: RunHandle) -> str:
    """Return what Ray's tables say of a run whose controller gives no answer."""
    if job.is_dead or not actors.alive:
        return "FINISHED"

    is_new = actors.controller is not None and actors.controller.starting
    return "INITIALIZING" if is_new else "RUNNING"


def controller_of(observation: Observation, seen: ThreadDump) -> Controller | None:
    row = observation.actors.controller if observation.actors else None

    if row is None:
        return None

    return Controller(
        actor_id=row.actor_id,
        pid=row.pid,
        node_ip=row.node_ip,
        state=controller_state(observation.controller, row),
        waiting_on=controller_waits_on(observation, row, seen.threads),
        asked=not (
            isinstance(observation.controller, Unavailable)
            and observation.controller.reason in ("disabled", "no_door")
        ),
    )


def nodes_of(observation: Observation) -> tuple[Node, ...]:
    """Return the nodes that hold a part of the job."""
    actors = observation.actors
    rows = [*actors.workers, *([actors.controller] if actors.controller else [])] if actors else []
    wanted = {row.node_id for row in rows} | {observation.job.driver_node_id}
    unasked = Agent(state="absent", detail="not needed: every rank there answered itself")
    return tuple(
        Node(
            node_id=node.node_id,
            ip=node.ip,
            hostname=node.hostname,
            alive=node.alive,
            gpus=gpus_of(observation.node_reports.get(node.node_id)),
            agent=observation.agents.get(node.node_id, unasked),
        )
        for node in observation.nodes
        if node.node_id in wanted
    )


def gpus_of(report: NodeReport | None) -> tuple[Gpu, ...]:
    return () if report is None or isinstance(report.gpus, Unavailable) else report.gpus
