"""The snapshot of one look: where everything is, what it does, what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from dsray_inspect.agent.assemble.gc_pause import without_collector
from dsray_inspect.agent.assemble.role_waits import (
    controller_state,
    controller_waits_on,
    driver_waits_on,
    main_thread,
    telling_thread,
)
from dsray_inspect.agent.assemble.threads import ThreadDump, threads_of
from dsray_inspect.agent.assemble.workers import RankContext, members_of
from dsray_inspect.agent.launchers.ray.adapters import RunActors
from dsray_inspect.agent.launchers.ray.records import JobRow
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
    Thread,
    Verdict,
)
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.stacks.decode import threads_inside
from dsray_inspect.agent.stacks.merge import Entry, group

ENDINGS = ("SUCCEEDED", "FAILED", "STOPPED")
NOT_JUDGED = Verdict(state="unknown", cause=None, ranks=(), summary="not judged")


class AnalysisInput(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot before its findings, with what only detectors need."""

    snapshot: Snapshot
    answers: Observation
    members: tuple[RankContext, ...]
    driver: ThreadDump
    controller: ThreadDump
    earlier: AnalysisInput | None = None
    """The look before this one in the same session, without its own earlier ones."""


@without_collector
def assemble(
    answers: Observation, *, all_threads: bool = False, earlier: AnalysisInput | None = None
) -> AnalysisInput:
    """Return the snapshot without findings and verdict."""
    members = members_of(answers)
    driver_seen = threads_of(
        (), answers.process(answers.job.driver_node_id, answers.job.driver_pid)
    )
    controller = answers.actors.controller if answers.actors else None
    controller_facts = answers.process(controller.node_id, controller.pid) if controller else {}
    told = answers.controller
    own = threads_inside(told) if isinstance(told, dict) else ()
    controller_seen = threads_of(own, controller_facts)
    entries = [
        *role_entries("driver", answers.job.driver_pid, driver_seen, all_threads),
        *role_entries(
            "controller", controller.pid if controller else 0, controller_seen, all_threads
        ),
        *worker_entries(members, all_threads),
    ]
    snapshot = Snapshot(
        taken_at=answers.taken_at,
        took_s=answers.took_s,
        job=Job(
            submission_id=answers.job.submission_id,
            job_id=answers.job.job_id,
            entrypoint=answers.job.entrypoint,
            state=job_state(answers),
        ),
        run=run_of(answers),
        driver=Driver(
            pid=answers.job.driver_pid,
            node_ip=answers.job.driver_ip,
            waiting_on=driver_waits_on(driver_seen.threads),
        ),
        controller=controller_of(answers, controller_seen),
        nodes=nodes_of(answers),
        workers=tuple(member.worker for member in members),
        stacks=Stacks(groups=group(entries)),
        findings=(),
        verdict=NOT_JUDGED,
        notes=(*answers.notes, *driver_notes(answers, driver_seen), *dump_notes(answers)),
    )
    return AnalysisInput(
        snapshot=snapshot,
        answers=answers,
        members=tuple(members),
        driver=driver_seen,
        controller=controller_seen,
        earlier=msgspec.structs.replace(earlier, earlier=None) if earlier else None,
    )


def job_state(answers: Observation) -> str:
    """Return RUNNING, how Ray says that the job ended, or FINISHED where it does not say."""
    if not answers.job.is_dead:
        return "RUNNING"

    # The job manager notices a driver's end a moment later than the GCS.
    status = answers.submission.status if answers.submission else ""
    return status if status in ENDINGS else "FINISHED"


def driver_notes(answers: Observation, seen: ThreadDump) -> list[str]:
    if answers.job.is_dead or seen.threads:
        return []

    return [f"The driver's stack was not seen: {seen.why}."]


def dump_notes(answers: Observation) -> list[str]:
    """Return what py-spy could not read of a process although it read the rest."""
    notes = {
        f"pid {pid} on {look.get('hostname', 'a node')}: {facts['dump']['note']}"
        for look in answers.looks.values()
        for pid, facts in look["processes"].items()
        if facts.get("dump", {}).get("note")
    }
    return sorted(notes)


def role_entries(role: Role, pid: int, seen: ThreadDump, all_threads: bool) -> list[Entry]:
    """Return the stacks of driver or controller: the main thread's, or all."""
    one = telling_thread(seen.threads) if role == "controller" else main_thread(seen.threads)
    shown: Sequence[Thread] = seen.threads if all_threads else ([one] if one else [])
    return [Entry(rank=None, role=role, pid=pid, thread=thread) for thread in shown]


def worker_entries(members: Iterable[RankContext], all_threads: bool) -> Iterator[Entry]:
    """Yield the stacks of ranks: their training threads', or all with those of their children."""
    for member in members:
        rank, pid = member.worker.rank, member.worker.pid

        if all_threads:
            for one in member.seen.threads:
                yield Entry(rank, "worker", pid, one)
        elif member.training is not None:
            yield Entry(rank, "worker", pid, member.training)

        for one in member.children:
            yield Entry(rank, "child", one.pid, one)


def run_of(answers: Observation) -> Run | None:
    actors = answers.actors

    if actors is None:
        return None

    answer = answers.controller if isinstance(answers.controller, dict) else {}
    return Run(
        id=answer.get("run_id"),
        name=answer.get("run_name"),
        attempt=answer.get("attempt"),
        state=answer.get("state") or run_state(answers.job, actors),
    )


def run_state(job: JobRow, actors: RunActors) -> str:
    """Return what Ray's tables say of a run whose controller gives no answer."""
    if job.is_dead or not actors.alive:
        return "FINISHED"

    is_new = actors.controller is not None and actors.controller.starting
    return "INITIALIZING" if is_new else "RUNNING"


def controller_of(answers: Observation, seen: ThreadDump) -> Controller | None:
    row = answers.actors.controller if answers.actors else None

    if row is None:
        return None

    return Controller(
        actor_id=row.actor_id,
        pid=row.pid,
        node_ip=row.node_ip,
        state=controller_state(answers.controller, row),
        waiting_on=controller_waits_on(answers, row, seen.threads),
    )


def nodes_of(answers: Observation) -> tuple[Node, ...]:
    """Return the nodes that hold a part of the job."""
    actors = answers.actors
    rows = [*actors.workers, *([actors.controller] if actors.controller else [])] if actors else []
    wanted = {row.node_id for row in rows} | {answers.job.driver_node_id}
    unasked = Agent(state="absent", detail="not needed: every rank there answered itself")
    return tuple(
        Node(
            node_id=node.node_id,
            ip=node.ip,
            hostname=node.hostname,
            alive=node.alive,
            gpus=tuple(
                msgspec.convert(gpu, Gpu)
                for gpu in answers.looks.get(node.node_id, {}).get("gpus", ())
            ),
            agent=answers.agents.get(node.node_id, unasked),
        )
        for node in answers.nodes
        if node.node_id in wanted
    )
