"""One rank, from what each rung said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from dsray_inspect.agent.assemble.groups import group_ids_of
from dsray_inspect.agent.assemble.threads import ThreadDump, children_of, threads_of
from dsray_inspect.agent.assemble.train_log import ranks_of
from dsray_inspect.agent.environment import explain
from dsray_inspect.agent.handles import NodeHandle, ProcessHandle
from dsray_inspect.agent.model import (
    OK,
    Collective,
    EnvVar,
    Evidence,
    Group,
    Log,
    Phase,
    Worker,
    WorkerGpu,
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
    ControllerReport,
    ControllerWorker,
    RankReport,
    TrainingHealth,
)
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable

NO_REPORT = RankReport()
NVML_NOT_ASKED = Unavailable(reason="not_asked", detail="nobody asked NVML on this node")
PLACE = Identity.__struct_fields__
STATES: dict[str, WorkerState] = {
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


def members_of(observation: Observation, groups: tuple[Group, ...]) -> list[RankContext]:
    """Return all workers of the group in the order of their ranks, unknown ranks last."""
    rows = observation.actors.workers if observation.actors else ()
    known = {**known_from_log(observation), **known_to_controller(observation.controller)}
    nodes = {node.node_id: node for node in observation.nodes}
    members = [member_of(row, known.get(row.actor_id), nodes, observation, groups) for row in rows]
    return sorted(members, key=lambda one: (one.worker.rank is None, one.worker.rank or 0))


def known_to_controller(
    report: ControllerReport | Unavailable,
) -> dict[str, ControllerWorker]:
    if isinstance(report, Unavailable):
        return {}

    return {worker.actor_id: worker for worker in report.workers}


def known_from_log(observation: Observation) -> dict[str, ControllerWorker]:
    """Return the ranks of workers that have ended, as Ray Train logged them."""
    ranks = ranks_of(observation)
    rows = observation.actors.workers if observation.actors else ()
    places = {row.actor_id: (row.node_ip, row.pid) for row in rows}
    return {
        actor_id: ControllerWorker(actor_id=actor_id, rank=ranks[place])
        for actor_id, place in places.items()
        if place in ranks
    }


def member_of(
    row: ProcessHandle,
    known: ControllerWorker | None,
    nodes: Mapping[str, NodeHandle],
    observation: Observation,
    groups: tuple[Group, ...],
) -> RankContext:
    answer = observation.ranks.get(row.actor_id) or not_running(row)
    own, silence = (answer, None) if isinstance(answer, RankReport) else (NO_REPORT, answer)
    report = observation.node_reports.get(row.node_id)
    probe = report.process(row.pid) if report is not None else NOT_PROBED
    seen = threads_of(own.threads, probe)
    training, phase = observation.stacks.training_and_phase(seen.threads)
    env = environment_of(row, own.environ, probe.environ, observation)
    place = own.identity if own.identity != NO_IDENTITY else identity_outside(env, probe)

    if known is not None:
        place = placed(known, place)

    node = nodes.get(row.node_id)
    gpus, gpu_evidence = gpus_of(row, known, env, report)
    collectives = () if isinstance(own.collectives, Unavailable) else own.collectives
    none_asked = silence or failure_of(own) or NOT_ASKED
    recorder = recorder_of(own, probe, place.rank, groups)
    worker = Worker(
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
        state=state_of(row, probe),
        gpus=gpus,
        function=training.stack.user_function if training else None,
        phase=phase_now(phase, seen, training, collectives),
        step=own.step,
        env=env,
        deepspeed=None if isinstance(own.deepspeed, Unavailable) else own.deepspeed,
        evidence=evidence(
            OK if known is not None else why_unknown(observation.controller),
            str(silence or failure_of(own) or OK),
            seen.why,
            gpu_evidence,
            OK if env else why_none(probe.environ, none_asked),
            why_no_recorder(own, probe, none_asked),
            why_none(own.deepspeed, none_asked),
        ),
        pause_ms=round(own.pause_ms + seen.pause_ms, 3),
        idle_s=training.idle_s if training else None,
        collectives=recorder.collectives,
        longest_gap_s=recorder.longest_gap_s,
        stack_source=seen.source,
        rss_bytes=probe.rss_bytes,
        versions=dict(own.versions),
        log=log_of(row, nodes, observation),
    )
    return RankContext(
        worker=worker,
        seen=seen,
        training=training,
        children=tuple(children_of(report, row.pid)) if report is not None else (),
        silence=silence,
        counters=both(own.counters, probe.counters),
        arrivals=recorder.arrivals,
        health=own.health,
        locks=own.locks,
    )


@lru_cache(maxsize=4096)
def evidence(
    controller: str, worker: str, stack: str, gpu: str, env: str, collectives: str, deepspeed: str
) -> Evidence:
    """Return what each rung said; thousands of ranks share one."""
    return Evidence(
        gcs=OK,
        controller=controller,
        worker=worker,
        stack=stack,
        gpu=gpu,
        env=env,
        collectives=collectives,
        deepspeed=deepspeed,
    )


def why_none(part: object, none_asked: Unavailable) -> str:
    """Return "ok", or why a part of a rank's answer is missing."""
    if not isinstance(part, Unavailable):
        return OK

    return str(none_asked if part.reason == "not_asked" else part)


def recorder_of(
    own: RankReport, probe: ProcessProbe, rank: int | None, groups: tuple[Group, ...]
) -> RecorderReport:
    """Return what a rank reported of its flight recorder, else what was read from its memory.

    Memory has the names of groups but not their ranks: these come from ranks that reported.
    """
    if isinstance(probe.recorder, Unavailable) or not isinstance(own.collectives, Unavailable):
        return RecorderReport(
            collectives=() if isinstance(own.collectives, Unavailable) else own.collectives,
            longest_gap_s=own.longest_gap_s,
            arrivals=own.arrivals,
        )

    ids = group_ids_of(rank, groups)
    collectives = tuple(
        msgspec.structs.replace(collective, group_id=ids.get(collective.group))
        for collective in probe.recorder.collectives
    )
    return msgspec.structs.replace(probe.recorder, collectives=collectives)


def why_no_recorder(own: RankReport, probe: ProcessProbe, none_asked: Unavailable) -> str:
    """Return "ok" where either way led to the recorder, else why neither did."""
    if not isinstance(probe.recorder, Unavailable):
        return OK

    inside = why_none(own.collectives, none_asked)
    was_tried = inside != OK and probe.recorder.reason != "not_asked"
    return f"{inside}; from its memory: {probe.recorder}" if was_tried else inside


def both(
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


def phase_now(
    phase: Phase, seen: ThreadDump, training: Thread | None, collectives: tuple[Collective, ...]
) -> Phase:
    """Return the phase; only the training function enters collectives, so without it it is over."""
    is_over = training is None and seen.threads != () and collectives != ()
    return "finished" if is_over and phase in ("unknown", "starting") else phase


def failure_of(own: RankReport) -> Unavailable | None:
    """Return what went wrong in a rank's own read of itself."""
    if not own.failed:
        return None

    detail = f"a read failed inside it: {'; '.join(own.failed)}"
    return Unavailable(reason="failed", detail=detail)


def why_unknown(controller: ControllerReport | Unavailable) -> str:
    if isinstance(controller, Unavailable):
        return str(controller)

    return "the controller does not list this worker"


def identity_outside(env: Mapping[str, EnvVar], probe: ProcessProbe) -> Identity:
    """Return the place of a rank that gives no answer, by its variables as others read them."""
    if not env:
        return probe.identity

    return identity_of({name: variable.value for name, variable in env.items()})


def placed(known: ControllerWorker, otherwise: Identity) -> Identity:
    """Return what the controller says of a rank's place, else what its own variables say."""
    said = {name: value for name in PLACE if (value := getattr(known, name)) is not None}
    return msgspec.structs.replace(otherwise, **said)


def not_running(row: ProcessHandle) -> Unavailable:
    state = row.state.lower().replace("_", " ")
    return Unavailable(reason="not_running", detail=f"the actor is {state}")


def state_of(row: ProcessHandle, probe: ProcessProbe) -> WorkerState:
    state = STATES.get(row.state, "unknown")

    if state != "alive" or probe.state in (None, "alive"):
        return state

    return "stopped" if probe.state == "stopped" else "dead"


def environment_of(
    row: ProcessHandle,
    inside: Environ | Unavailable,
    outside: Environ | Unavailable,
    observation: Observation,
) -> dict[str, EnvVar]:
    """Return the live variables with who set them, as rung 2 or else rung 3b read them."""
    environ = outside if isinstance(inside, Unavailable) else inside

    if isinstance(environ, Unavailable):
        return {}

    return explain(
        environ.variables,
        set_after_exec=environ.set_after_exec,
        from_raylet=environ.from_raylet,
        runtime_env={**observation.job.runtime_env_vars, **row.runtime_env_vars},
    )


def gpus_of(
    row: ProcessHandle,
    known: ControllerWorker | None,
    env: Mapping[str, EnvVar],
    report: NodeReport | None,
) -> tuple[tuple[WorkerGpu, ...], str]:
    """Return the GPUs of a rank, and "ok" or why a device could not be told.

    Ray's slots count the raylet's own CUDA_VISIBLE_DEVICES; `accelerator_ids` are what they
    stand for. A device is found in NVML by index, or named by its UUID already.
    """
    if not row.gpu_slots:
        return (), "Ray gave this rank no GPU"

    found = report.gpus if report is not None else NOT_ASKED
    gpus, is_known = devices_of(
        row.gpu_slots,
        known.gpu_ids if known is not None else (),
        env["CUDA_VISIBLE_DEVICES"].value if "CUDA_VISIBLE_DEVICES" in env else "",
        tuple([(str(gpu.index), gpu.uuid) for gpu in found])
        if not isinstance(found, Unavailable)
        else (),
    )
    return gpus, OK if is_known else why_none(found, NVML_NOT_ASKED)


@lru_cache(maxsize=4096)
def devices_of(
    slots: tuple[int, ...],
    named: tuple[str, ...],
    seen: str,
    devices: tuple[tuple[str, str], ...],
) -> tuple[tuple[WorkerGpu, ...], bool]:
    """Return the GPU of each slot and whether all are known; `devices` are index and UUID of what
    the node has.

    Ranks that stand alike on a thousand nodes share one.
    """
    uuids, visible = dict(devices), seen.split(",")
    names = [named[at] if at < len(named) else str(slot) for at, slot in enumerate(slots)]
    gpus = tuple(
        WorkerGpu(
            slot=slot,
            visible=name if name in visible else None,
            uuid=name if name.startswith(("GPU-", "MIG-")) else uuids.get(name),
        )
        for slot, name in zip(slots, names, strict=True)
    )
    return gpus, all(gpu.uuid for gpu in gpus)


def log_of(
    row: ProcessHandle, nodes: Mapping[str, NodeHandle], observation: Observation
) -> Log | None:
    """Return the ends of a rank's log files, or why there are none; None where nobody asked."""
    request, node = observation.request, nodes.get(row.node_id)

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
