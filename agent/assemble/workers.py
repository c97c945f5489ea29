"""One rank, from what each source said of it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import msgspec

from dsray_inspect.agent.assemble.groups import group_ids_of
from dsray_inspect.agent.assemble.rank_evidence import evidence_of, why_unknown
from dsray_inspect.agent.assemble.rank_gpus import gpus_of
from dsray_inspect.agent.assemble.threads import ThreadDump, children_of, threads_of
from dsray_inspect.agent.compat.ray import RAYLET_PID_VARIABLE, V1_MODULE, V2_MODULE
from dsray_inspect.agent.environment import explain
from dsray_inspect.agent.handles import NodeHandle, ProcessHandle
from dsray_inspect.agent.model import (
    OK,
    EnvVar,
    Evidence,
    Group,
    Log,
    Phase,
    Worker,
    WorkerState,
)
from dsray_inspect.agent.sampling.decode import identity_of
from dsray_inspect.agent.sampling.node_report import NodeReport
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.process_probe import (
    NO_IDENTITY,
    NOT_PROBED,
    ActivityCounters,
    ChildProcess,
    Environ,
    Identity,
    ProcessProbe,
    RecorderReport,
)
from dsray_inspect.agent.sampling.rank_report import (
    CompileLock,
    ControllerWorker,
    RankReport,
    TrainingHealth,
)
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import Unavailable

_NO_REPORT = RankReport()
_PLACE = Identity.__struct_fields__
_STATES: dict[str, WorkerState] = {
    "ALIVE": "alive",
    "DEAD": "dead",
    "RESTARTING": "restarting",
    "PENDING_CREATION": "pending",
    "DEPENDENCIES_UNREADY": "pending",
}


class RankContext(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A worker with its threads, which the stacks are made of."""

    worker: Worker
    seen: ThreadDump
    training: Thread | None
    """The thread that runs the user's function, or sets up for it."""
    children: tuple[Thread, ...] = ()
    silence: Unavailable | None = None
    """Why it gave no report of its own, None where it gave one."""
    counters: ActivityCounters | None = None
    arrivals: Mapping[str, Sequence[tuple[int, int]]] = {}
    """By process group: (sequence, Unix ns) of its newest collectives."""
    newest_age_s: float | None = None
    """Seconds since the newest entry of its flight recorder, messages between two ranks included."""
    health: TrainingHealth | None = None
    locks: tuple[CompileLock, ...] = ()
    """The compile locks that it waits for."""

    @property
    def tracer(self) -> int:
        """The pid of the debugger that holds it, 0 for none."""
        return self.counters.tracer if self.counters is not None else 0

    @property
    def dials(self) -> tuple[str, ...]:
        """The addresses that it tries to connect to."""
        return self.counters.dials if self.counters is not None else ()

    @property
    def child_processes(self) -> tuple[ChildProcess, ...]:
        return self.counters.children if self.counters is not None else ()


class _Sources(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What there is to read of one rank."""

    row: ProcessHandle
    known: ControllerWorker | None
    """What the controller, or its log, says of the rank."""
    node: NodeHandle | None
    report: NodeReport | None
    probe: ProcessProbe
    own: RankReport
    silence: Unavailable | None
    seen: ThreadDump
    training: Thread | None
    phase: Phase


class RunFacts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What all ranks of a sample have in common."""

    observation: Observation
    nodes: Mapping[str, NodeHandle]
    groups: tuple[Group, ...]
    met: frozenset[int]
    """The ranks that a peer has left a collective with."""
    entered: Container[tuple[str, int]]
    """The actor ids and pids of those that were seen to enter a collective in an earlier sample."""


def member_of(row: ProcessHandle, known: ControllerWorker | None, run: RunFacts) -> RankContext:
    sources = _sources(row, known, nodes=run.nodes, observation=run.observation)
    own, probe, report = sources.own, sources.probe, sources.report
    env = _environment_of(row, own.environ, probe.environ, run.observation)
    place = _place_of(sources, env)
    recorder = _recorder_of(own, probe, rank=place.rank, groups=run.groups)
    was_seen = place.rank in run.met or (row.actor_id, row.pid) in run.entered
    has_entered = recorder.collectives != () or was_seen
    return RankContext(
        worker=_worker(
            sources,
            place,
            recorder=recorder,
            env=env,
            phase=_phase_now(sources, has_entered=has_entered),
            observation=run.observation,
        ),
        seen=sources.seen,
        training=sources.training,
        children=tuple(children_of(report, row.pid)) if report is not None else (),
        silence=sources.silence,
        counters=_both(own.counters, probe.counters),
        arrivals=recorder.arrivals,
        newest_age_s=recorder.newest_age_s,
        health=own.health,
        locks=own.locks,
    )


def _sources(
    row: ProcessHandle,
    known: ControllerWorker | None,
    *,
    nodes: Mapping[str, NodeHandle],
    observation: Observation,
) -> _Sources:
    answer = observation.ranks.get(row.actor_id) or _not_running(row)
    own, silence = (answer, None) if isinstance(answer, RankReport) else (_NO_REPORT, answer)
    report = observation.node_reports.get(row.node_id)
    probe = report.process(row.pid) if report is not None else NOT_PROBED
    seen = threads_of(own.threads, probe)
    training, phase = observation.stacks.training_and_phase(seen.threads)
    return _Sources(
        row=row,
        known=known,
        node=nodes.get(row.node_id),
        report=report,
        probe=probe,
        own=own,
        silence=silence,
        seen=seen,
        training=training,
        phase=phase,
    )


def _worker(
    sources: _Sources,
    place: Identity,
    *,
    recorder: RecorderReport,
    env: dict[str, EnvVar],
    phase: Phase,
    observation: Observation,
) -> Worker:
    row, known, own, seen = sources.row, sources.known, sources.own, sources.seen
    training, node = sources.training, sources.node
    gpus, gpu_evidence = gpus_of(row, known, env, sources.report)
    return Worker(
        rank=place.rank,
        local_rank=place.local_rank,
        node_rank=place.node_rank,
        world_size=place.world_size,
        actor_id=row.actor_id,
        worker_id=row.worker_id,
        pid=row.pid,
        node_id=row.node_id,
        node_ip=row.node_ip,
        hostname=(known.hostname if known else None) or (node.hostname if node else ""),
        state=_state_of(row, sources.probe),
        gpus=gpus,
        function=training.stack.user_function if training else None,
        phase=phase,
        step=own.step,
        env=env,
        deepspeed=None if isinstance(own.deepspeed, Unavailable) else own.deepspeed,
        evidence=_evidence(sources, gpu_evidence, has_env=bool(env), observation=observation),
        pause_ms=round(own.pause_ms + seen.pause_ms, 3),
        idle_s=training.idle_s if training else None,
        collectives=recorder.collectives,
        longest_gap_s=recorder.longest_gap_s,
        stack_source=seen.source,
        rss_bytes=sources.probe.rss_bytes,
        versions=dict(own.versions),
        log=_log_of(row, node, observation),
    )


def _evidence(sources: _Sources, gpu: str, *, has_env: bool, observation: Observation) -> Evidence:
    is_placed = sources.known is not None or sources.row.rank is not None
    return evidence_of(
        sources.own,
        sources.probe,
        silence=sources.silence,
        controller=OK if is_placed else why_unknown(observation.controller),
        stack=sources.seen.why,
        gpu=gpu,
        has_env=has_env,
    )


def _place_of(sources: _Sources, env: Mapping[str, EnvVar]) -> Identity:
    """Return the place of a rank: what the controller says of it, else what its variables say.

    Where these do not say which rank it is, its launcher may know.
    """
    own = sources.own.identity
    place = own if own != NO_IDENTITY else _identity_outside(env, sources.probe)

    if place.rank is None and sources.row.rank is not None:
        place = msgspec.structs.replace(place, rank=sources.row.rank)

    if sources.known is None:
        return place

    said = {name: value for name in _PLACE if (value := getattr(sources.known, name)) is not None}
    return msgspec.structs.replace(place, **said)


def _recorder_of(
    own: RankReport, probe: ProcessProbe, *, rank: int | None, groups: tuple[Group, ...]
) -> RecorderReport:
    """Return what a rank reported of its flight recorder, else what was read from its memory.

    Memory has the names of groups but not their ranks: these come from ranks that reported.
    """
    if isinstance(probe.recorder, Unavailable) or not isinstance(own.collectives, Unavailable):
        return RecorderReport(
            collectives=() if isinstance(own.collectives, Unavailable) else own.collectives,
            longest_gap_s=own.longest_gap_s,
            newest_age_s=own.newest_age_s,
            arrivals=own.arrivals,
        )

    ids = group_ids_of(rank, groups)
    collectives = tuple(
        msgspec.structs.replace(collective, group_id=ids.get(collective.group))
        for collective in probe.recorder.collectives
    )
    return msgspec.structs.replace(probe.recorder, collectives=collectives)


def _both(
    inside: ActivityCounters | None, outside: ActivityCounters | None
) -> ActivityCounters | None:
    """Return what a rank and its node tell of it: neither is always allowed to see all of it."""
    if inside is None or outside is None:
        return inside or outside

    return msgspec.structs.replace(
        inside,
        moved_bytes=max(inside.moved_bytes, outside.moved_bytes),
        dials=tuple(sorted({*inside.dials, *outside.dials})),
    )


def _phase_now(sources: _Sources, *, has_entered: bool) -> Phase:
    """Return the phase; only the training function enters collectives, so without it it is over."""
    is_over = sources.training is None and sources.seen.threads != () and has_entered
    return "finished" if is_over and sources.phase in ("unknown", "starting") else sources.phase


def _identity_outside(env: Mapping[str, EnvVar], probe: ProcessProbe) -> Identity:
    """Return the place of a rank that gives no answer, by its variables as others read them."""
    if not env:
        return probe.identity

    return identity_of({name: variable.value for name, variable in env.items()})


def _not_running(row: ProcessHandle) -> Unavailable:
    state = row.state.lower().replace("_", " ")
    return Unavailable(reason="not_running", detail=f"the actor is {state}")


def _state_of(row: ProcessHandle, probe: ProcessProbe) -> WorkerState:
    state = _STATES.get(row.state, "unknown")

    if state != "alive" or probe.state in (None, "alive"):
        return state

    return "stopped" if probe.state == "stopped" else "dead"


def _environment_of(
    row: ProcessHandle,
    inside: Environ | Unavailable,
    outside: Environ | Unavailable,
    observation: Observation,
) -> dict[str, EnvVar]:
    """Return the live variables with who set them, as it read them itself, else as its node did."""
    environ = outside if isinstance(inside, Unavailable) else inside

    if isinstance(environ, Unavailable):
        return {}

    return explain(
        environ.variables,
        set_after_exec=environ.set_after_exec,
        from_parent=environ.from_parent,
        started_by_ray=RAYLET_PID_VARIABLE in environ.variables,
        is_ray_trains=not row.module or row.module.startswith((V1_MODULE, V2_MODULE)),
        runtime_env={**observation.job.runtime_env_vars, **row.runtime_env_vars},
    )


def _log_of(row: ProcessHandle, node: NodeHandle | None, observation: Observation) -> Log | None:
    """Return the ends of a rank's log files, or why there are none; None where nobody asked."""
    request = observation.request

    if not request.log_lines or (request.only is not None and row.actor_id not in request.only):
        return None

    hostname = node.hostname if node else row.node_ip
    report = observation.node_reports.get(row.node_id)

    if report is not None and row.worker_id in report.logs:
        tail = report.logs[row.worker_id]
        return Log(hostname=hostname, files=tail.files, why=tail.why)

    agent = observation.agents.get(row.node_id)
    failed = agent.detail if agent is not None and agent.state == "failed" else ""
    gone = "it has no process" if not row.worker_id else "its node is gone"
    return Log(hostname=hostname, files=(), why=failed or gone)
