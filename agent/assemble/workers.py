"""One rank, from what each rung said of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from dsray_inspect.agent.assemble.account import ranks_of
from dsray_inspect.agent.assemble.threads import Seen, children_of, threads_of
from dsray_inspect.agent.cluster.records import ActorRow, NodeRow
from dsray_inspect.agent.environment import explain
from dsray_inspect.agent.gather.answers import Answers
from dsray_inspect.agent.model import (
    OK,
    Collective,
    DeepSpeed,
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
from dsray_inspect.agent.stacks.phase import phase_of, training_thread, user_function

STATES: dict[str, WorkerState] = {
    "ALIVE": "alive",
    "DEAD": "dead",
    "RESTARTING": "restarting",
    "PENDING_CREATION": "pending",
    "DEPENDENCIES_UNREADY": "pending",
}


class Member(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A worker with its threads, which the stacks are made of."""

    worker: Worker
    seen: Seen
    training: Thread | None
    """The thread that runs the user's function, or sets up for it."""
    children: tuple[Thread, ...] = ()
    progress: Mapping[str, Any] = {}
    """What `onsite.progress` read, empty where nobody asked."""
    arrivals: Mapping[str, Any] = {}
    """By process group: (sequence, Unix ns) of its newest collectives."""
    health: Mapping[str, Any] = {}
    """What `onsite.health` read of the engine."""


def members_of(answers: Answers) -> list[Member]:
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


def known_to_account(answers: Answers) -> dict[str, dict[str, Any]]:
    """Return the ranks of workers that have ended, as Ray Train wrote them down."""
    ranks = ranks_of(answers)
    rows = answers.actors.workers if answers.actors else ()
    places = {row.actor_id: (row.node_ip, row.pid) for row in rows}
    return {
        actor_id: {"rank": ranks[place]} for actor_id, place in places.items() if place in ranks
    }


def member_of(
    row: ActorRow, known: Mapping[str, Any], nodes: Mapping[str, NodeRow], answers: Answers
) -> Member:
    answer = answers.workers.get(
        row.actor_id, f"the actor is {row.state.lower().replace('_', ' ')}"
    )
    own: Mapping[str, Any] = answer if isinstance(answer, dict) else {}
    look = answers.looks.get(row.node_id, {})
    facts: Mapping[str, Any] = answers.process(row.node_id, row.pid)
    seen = threads_of(answer, facts)
    training = training_thread(seen.threads)
    env = environment_of(row, own, facts, answers)
    identity = (
        own.get("identity")
        or {name: one.value for name, one in env.items()}
        or facts.get("identity", {})
    )
    node = nodes.get(row.node_id)
    gpus, gpu_evidence = gpus_of(row, known, env, look)
    none_asked = failure_of(own, "not asked") if own else str(answer)
    worker = Worker(
        rank=number(known.get("rank"), identity, "RANK"),
        local_rank=number(known.get("local_rank"), identity, "LOCAL_RANK"),
        node_rank=number(known.get("node_rank"), identity, "NODE_RANK"),
        world_size=number(known.get("world_size"), identity, "WORLD_SIZE"),
        actor_id=row.actor_id,
        worker_id=row.worker_id,
        pid=row.pid,
        node_id=row.node_id,
        node_ip=row.node_ip,
        hostname=known.get("hostname") or (node.hostname if node else ""),
        state=state_of(row, facts),
        gpus=gpus,
        function=user_function(training.frames) if training else None,
        phase=phase_now(seen, training, own),
        step=own.get("step"),
        env=env,
        deepspeed=deepspeed_of(own),
        evidence=evidence(
            OK if known else why_unknown(answers.controller),
            answer if isinstance(answer, str) else failure_of(own),
            seen.why,
            gpu_evidence,
            OK if env else str(facts.get("env_why") or none_asked),
            str(own.get("collectives_why") or none_asked),
            str(own.get("deepspeed_why") or none_asked),
        ),
        pause_ms=round(own.get("pause_ms", 0.0) + seen.pause_ms, 3),
        idle_s=training.idle_s if training else None,
        collectives=collectives_of(own),
        longest_gap_s=own.get("longest_gap_s"),
        stack_source=seen.source,
        rss_bytes=facts.get("rss_bytes"),
        versions=dict(own.get("versions") or {}),
        log=log_of(row, nodes, answers),
    )
    children = children_of(look.get("processes", {}), row.pid)
    return Member(
        worker=worker,
        seen=seen,
        training=training,
        children=tuple(children),
        progress=progress_of(own.get("progress") or {}, facts.get("progress") or {}),
        arrivals=own.get("arrivals") or {},
        health=own.get("health") or {},
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


def phase_now(seen: Seen, training: Thread | None, own: Mapping[str, Any]) -> Phase:
    """Return the phase; collectives come from the training function only, so without it it is over."""
    if not seen.threads:
        return "unknown"

    phase = phase_of(seen.threads)
    is_over = own.get("collectives") and training is None
    return "finished" if is_over and phase in ("unknown", "starting") else phase


def failure_of(own: Mapping[str, Any], otherwise: str = OK) -> str:
    """Return what went wrong in a rank's own read of itself."""
    failed = own.get("failed")
    return f"a read failed inside it: {'; '.join(failed)}" if failed else otherwise


def why_unknown(controller: dict[str, Any] | str) -> str:
    return controller if isinstance(controller, str) else "the controller does not list this worker"


def number(known: Any, identity: Mapping[str, str], name: str) -> int | None:
    """Return what the controller says, else what the process's own variable says."""
    if isinstance(known, int):
        return known

    text = identity.get(name, "")
    return int(text) if text.isdigit() else None


def state_of(row: ActorRow, facts: Mapping[str, Any]) -> WorkerState:
    state = STATES.get(row.state, "unknown")

    if state == "alive" and facts.get("state") in ("stopped", "dead"):
        return "stopped" if facts["state"] == "stopped" else "dead"

    return "dead" if state == "alive" and facts.get("gone") else state


def environment_of(
    row: ActorRow, own: Mapping[str, Any], facts: Mapping[str, Any], answers: Answers
) -> dict[str, EnvVar]:
    """Return the live variables with who set them, from rung 2 or else from rung 3b."""
    source = own if "env" in own else facts

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

    named = [str(name) for name in known.get("accelerator_ids", {}).get("GPU", ())]
    seen = env["CUDA_VISIBLE_DEVICES"].value.split(",") if "CUDA_VISIBLE_DEVICES" in env else []
    devices = {str(gpu["index"]): gpu["uuid"] for gpu in look.get("gpus", ())}
    gpus = []

    for position, slot in enumerate(row.gpu_slots):
        device = named[position] if position < len(named) else str(slot)
        uuid = device if device.startswith(("GPU-", "MIG-")) else devices.get(device)
        visible = device if device in seen else None
        gpus.append(WorkerGpu(slot=slot, visible=visible, uuid=uuid))

    if all(gpu.uuid for gpu in gpus):
        return tuple(gpus), OK

    return tuple(gpus), str(look.get("gpu_why") or "nobody asked NVML on this node")


def log_of(row: ActorRow, nodes: Mapping[str, NodeRow], answers: Answers) -> Log | None:
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


def collectives_of(own: Mapping[str, Any]) -> tuple[Collective, ...]:
    ranks = own.get("group_ranks") or {}
    return tuple(
        Collective(
            group=one["group"],
            ranks=group_members(ranks.get(one["group"])),
            sequence=one["sequence"],
            operation=one["operation"],
            sizes=tuple(map(tuple, one["sizes"])),
            dtype=one["dtype"],
            age_s=one["age_s"],
            finished=one["finished"],
            timeout_s=one["timeout_s"],
        )
        for one in own.get("collectives") or ()
    )


def group_members(ranks: Any) -> tuple[int, ...]:
    """Return the ranks of a group, from a list or from first, one past the last, and stride."""
    if isinstance(ranks, Mapping):
        return span(ranks["first"], ranks["end"], ranks["stride"])

    return tuple(ranks or ())


@lru_cache(maxsize=256)
def span(first: int, end: int, stride: int) -> tuple[int, ...]:
    """Return one tuple for all ranks of a group: a thousand copies would be a million numbers."""
    return tuple(range(first, end, stride))


def deepspeed_of(own: Mapping[str, Any]) -> DeepSpeed | None:
    described = own.get("deepspeed")
    return msgspec.convert(described, DeepSpeed) if described else None
