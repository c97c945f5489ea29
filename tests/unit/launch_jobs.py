"""Live jobs to be explained as other launchers would start them, from recorded snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dsray_inspect.agent.handles import ALIVE, Candidate, JobHandle, ProcessHandle, RunHandle
from dsray_inspect.agent.launch.facts import LiveJob, facts_of
from dsray_inspect.agent.launch.plan import LauncherName, LaunchPlan
from dsray_inspect.agent.launch.planner import plan_of
from dsray_inspect.agent.model import Snapshot, Worker
from tests.unit.snapshots import recorded

PORT = 29500
TWO_NODES = ("10.0.0.1", "10.0.0.1", "10.0.0.2")
THREE_NODES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
TRAIN_MODULE = "ray.train.v2._internal.execution.worker_group.worker"
CPUS, GPUS = 0.1, 1.0


def candidate_of(snapshot: Snapshot, past_groups: int, **changes: Any) -> Candidate:
    """Return the run of a snapshot as Ray's tables would tell it."""
    job = JobHandle(
        job_id=snapshot.job.job_id,
        submission_id=snapshot.job.submission_id,
        entrypoint=snapshot.job.entrypoint,
        namespace="",
        driver_pid=1,
        driver_ip="192.0.2.2",
        driver_node_id="n0",
        is_dead=False,
        started_at=0.0,
        ended_at=None,
        runtime_env_vars={},
    )
    rows = tuple(_row(worker, changes) for worker in snapshot.workers)
    run = RunHandle(generation="v2", controller=None, workers=rows, past_groups=past_groups)
    return Candidate(job=job, actors=run)


def _row(worker: Worker, changes: dict[str, Any]) -> ProcessHandle:
    told = {
        "class_name": "RayTrainWorker",
        "module": TRAIN_MODULE,
        "required": {"CPU_group_ab": CPUS, "CPU_group_0_ab": CPUS, "GPU_group_ab": GPUS},
        **changes,
    }
    return ProcessHandle(
        actor_id=worker.actor_id,
        job_id="1",
        state=ALIVE,
        pid=worker.pid,
        node_id=worker.node_id,
        node_ip=worker.node_ip,
        runtime_env_vars={},
        started_at=0.0,
        rank=worker.rank,
        **told,
    )


def placed(snapshot: Snapshot, ips: Sequence[str]) -> Snapshot:
    """Return a snapshot with its ranks on the nodes of these addresses, the last for the rest."""
    workers = tuple(
        msgspec.structs.replace(worker, node_id=ip, node_ip=ip, hostname=f"host-{ip[-1]}")
        for number, worker in enumerate(snapshot.workers)
        for ip in [ips[min(number, len(ips) - 1)]]
    )
    return msgspec.structs.replace(snapshot, workers=workers)


def ray_train(
    *,
    ips: Sequence[str] = (),
    entrypoint: str | None = None,
    uses_deepspeed: bool | None = None,
    helpers: Sequence[ProcessHandle] = (),
    past_groups: int = 0,
    **row: Any,
) -> LiveJob:
    """Return a recorded job of Ray Train with three ranks.

    Args:
        ips: The address of each rank's node, the last one for all that follow; none: as recorded.
        entrypoint: Stands for the recorded one.
        uses_deepspeed: Stands for what its stacks say.
        helpers: The job's other actors.
        past_groups: How often it was started before.
        row: What Ray's table of actors says of the ranks.
    """
    snapshot = placed(recorded("hung"), ips) if ips else recorded("hung")

    if entrypoint is not None:
        job = msgspec.structs.replace(snapshot.job, entrypoint=entrypoint)
        snapshot = msgspec.structs.replace(snapshot, job=job)

    facts = facts_of(candidate_of(snapshot, past_groups, **row), snapshot, helpers)
    uses = facts.uses_deepspeed if uses_deepspeed is None else uses_deepspeed
    return msgspec.structs.replace(facts, uses_deepspeed=uses)


def plan(launcher: LauncherName, job: LiveJob | None = None, **of: Any) -> LaunchPlan:
    """Return the plan of a job, or of the recorded one without DeepSpeed."""
    job = job or ray_train(**{"uses_deepspeed": False, **of})
    return plan_of(job, recorded("hung"), launcher, port=PORT)


def variables(found: LaunchPlan, name: str) -> list[str | None]:
    """Return what each rank gets for a variable."""
    return [rank.env[name].value for rank in found.ranks]
