"""One rank, from what each rung said of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from dsray_inspect.agent.assemble.threads import ThreadDump, children_of, threads_of
from dsray_inspect.agent.assemble.train_log import ranks_of
from dsray_inspect.agent.environment import explain
from dsray_inspect.agent.launchers.ray.records import ActorRow, NodeRow
from dsray_inspect.agent.model import (
    OK,
    EnvVar,
    Evidence,
    Log,
    LogFile,
    Phase,
    Thread,
    Worker,
    WorkerGpu,
    WorkerState,
)
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.rank_report import (
    NOBODY,
    NOTHING,
    Identity,
    RankReport,
    identity_of,
)
from dsray_inspect.agent.stacks.phase import training_and_phase, user_function

NOTHING_TOLD = RankReport()
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
    progress: Mapping[str, Any] = {}
    """What `remote.activity_counters` read, empty where nobody asked."""
    arrivals: Mapping[str, Any] = {}
    """By process group: (sequence, Unix ns) of its newest collectives."""
    health: Mapping[str, Any] = {}
    """What `remote.training_health` read of the engine."""
    locks: tuple[Mapping[str, Any], ...] = ()
    """The compile locks that it waits for."""


def members_of(answers: Observation) -> list[RankContext]:
    """Return all workers of the group in the order of their ranks, unknown ranks last."""
    rows = answers.actors.workers if answers.actors else ()
    known = {**known_to_account(answers), **known_to_controller(answers.controller)}
    nodes = {node.node_id: node for node in answers.nodes}
    members = [member_of(row, known.get(row.actor_id, {}), nodes, answers) for row in rows]
    return sorted(members, key=lambda one: (one.worker.rank is None, one.worker.rank or 0))


def known_to_controller(answer: dict[str, Any] | str) -> dict[str, dict[str, Any]]:
    if isinstance(answer, str):
        return {}

    return {worker["actor_id"]: worker for worker in answer.get("workers", ())}


def known_to_account(answers: Observation) -> dict[str, dict[str, Any]]:
    """Return the ranks of workers that have ended, as Ray Train wrote them down."""
    ranks = ranks_of(answers)
    rows = answers.actors.workers if answers.actors else ()
    places = {row.actor_id: (row.node_ip, row.pid) for row in rows}
    return {
        actor_id: {"rank": ranks[place]} for actor_id, place in places.items() if place in ranks
    }


def member_of(
    row: ActorRow, known: Mapping[str, Any], nodes: Mapping[str, NodeRow], answers: Observation
) -> RankContext:
    answer = answers.workers.get(row.actor_id) or f"the actor is {shown_state(row)}"
    own, silence = (answer, "") if isinstance(answer, RankReport) else (NOTHING_TOLD, answer)
    look = answers.looks.get(row.node_id, NOTHING)
    facts = answers.process(row.node_id, row.pid)
    seen = threads_of(own.threads, facts)
    training, phase = training_and_phase(seen.threads)
    env = environment_of(row, own.environ or facts, answers)
    place = own.identity if own.identity != NOBODY else identity_outside(env, facts)

    if known:
        place = placed(known, place)

    node = nodes.get(row.node_id)
    gpus, gpu_evidence = gpus_of(row, known, env, look)
    none_asked = silence or failure_of(own, "not asked")
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
        hostname=known.get("hostname") or (node.hostname if node else ""),
        state=state_of(row, facts),
        gpus=gpus,
        function=user_function(training.frames) if training else None,
        phase=phase_now(phase, seen, training, own),
        step=own.step,
        env=env,
        deepspeed=own.deepspeed,
        evidence=evidence(
            OK if known else why_unknown(answers.controller),
            silence or failure_of(own),
            seen.why,
            gpu_evidence,
            OK if env else str(facts.get("env_why") or none_asked),
            own.collectives_why or none_asked,
            own.deepspeed_why or none_asked,
        ),
        pause_ms=round(own.pause_ms + seen.pause_ms, 3),
        idle_s=training.idle_s if training else None,
        collectives=own.collectives,
        longest_gap_s=own.longest_gap_s,
        stack_source=seen.source,
        rss_bytes=facts.get("rss_bytes"),
        versions=dict(own.versions),
        log=log_of(row, nodes, answers),
    )
    return RankContext(
        worker=worker,
        seen=seen,
        training=training,
        children=tuple(children_of(look["processes"], row.pid)) if look else (),
        progress=progress_of(own.progress, facts.get("progress") or NOTHING),
        arrivals=own.arrivals,
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


def progress_of(inside: Mapping[str, Any], outside: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a rank and its node tell of it: neither is always allowed to see all of it."""
    if not inside or not outside:
        return inside or outside

    return {
        **inside,
        "moved_bytes": max(inside["moved_bytes"], outside["moved_bytes"]),
        "dials": sorted({*inside["dials"], *outside["dials"]}),
    }


def phase_now(phase: Phase, seen: ThreadDump, training: Thread | None, own: RankReport) -> Phase:
    """Return the phase; collectives come from the training function only, so without it it is over."""
    is_over = training is None and bool(seen.threads and own.collectives)
    return "finished" if is_over and phase in ("unknown", "starting") else phase


def failure_of(own: RankReport, otherwise: str = OK) -> str:
    """Return what went wrong in a rank's own read of itself."""
    return f"a read failed inside it: {'; '.join(own.failed)}" if own.failed else otherwise


def why_unknown(controller: dict[str, Any] | str) -> str:
    return controller if isinstance(controller, str) else "the controller does not list this worker"


def identity_outside(env: Mapping[str, EnvVar], facts: Mapping[str, Any]) -> Identity:
    """Return the place of a rank that gives no answer, by its variables as others read them."""
    return identity_of({name: one.value for name, one in env.items()} or facts.get("identity", {}))


def placed(known: Mapping[str, Any], otherwise: Identity) -> Identity:
    """Return what the controller says of a rank's place, else what its own variables say."""
    said = {name: one for name, one in known.items() if name in PLACE and isinstance(one, int)}
    return msgspec.structs.replace(otherwise, **said)


def shown_state(row: ActorRow) -> str:
    return row.state.lower().replace("_", " ")


def state_of(row: ActorRow, facts: Mapping[str, Any]) -> WorkerState:
    state = STATES.get(row.state, "unknown")

    if state == "alive" and facts.get("state") in ("stopped", "dead"):
        return "stopped" if facts["state"] == "stopped" else "dead"

    return "dead" if state == "alive" and facts.get("gone") else state


def environment_of(
    row: ActorRow, source: Mapping[str, Any], answers: Observation
) -> dict[str, EnvVar]:
    """Return the live variables with who set them, as rung 2 or else rung 3b read them."""
    if "env" not in source:
        return {}

    shared = source.get("from_raylet")
    return explain(
        source["env"],
        set_after_exec=frozenset(source["set_after_exec"]),
        from_raylet=frozenset(shared) if shared is not None else None,
        runtime_env={**answers.job.runtime_env_vars, **row.runtime_env_vars},
    )


def gpus_of(
    row: ActorRow, known: Mapping[str, Any], env: Mapping[str, EnvVar], look: Mapping[str, Any]
) -> tuple[tuple[WorkerGpu, ...], str]:
    """Return the GPUs of a rank, and "ok" or why a device could not be told.

    Ray's slots count the raylet's own CUDA_VISIBLE_DEVICES; `accelerator_ids` are what they
    stand for. A device is found in NVML by index, or named by its UUID already.
    """
    if not row.gpu_slots:
        return (), "Ray gave this rank no GPU"

    gpus, is_known = devices_of(
        row.gpu_slots,
        tuple(map(str, known.get("accelerator_ids", NOTHING).get("GPU", ()))),
        env["CUDA_VISIBLE_DEVICES"].value if "CUDA_VISIBLE_DEVICES" in env else "",
        tuple([(str(gpu["index"]), gpu["uuid"]) for gpu in look["gpus"]]) if "gpus" in look else (),
    )

    return gpus, OK if is_known else str(look.get("gpu_why") or "nobody asked NVML on this node")


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


def log_of(row: ActorRow, nodes: Mapping[str, NodeRow], answers: Observation) -> Log | None:
    """Return the ends of a rank's log files, or why there are none; None where nobody asked."""
    ask, node = answers.ask, nodes.get(row.node_id)

    if not ask.log_lines or (ask.only is not None and row.actor_id not in ask.only):
        return None

    hostname = node.hostname if node else row.node_ip
    found = answers.looks.get(row.node_id, {}).get("logs", {}).get(row.worker_id)

    if found is not None:
        files = tuple(msgspec.convert(file, LogFile) for file in found["files"])
        return Log(hostname=hostname, files=files, why=found["why"])

    agent = answers.agents.get(row.node_id)
    failed = agent.detail if agent is not None and agent.state == "failed" else ""
    gone = "it has no process" if not row.worker_id else "its node is gone"
    return Log(hostname=hostname, files=(), why=failed or gone)
