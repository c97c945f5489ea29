"""Puts the plan together: the live job as one launcher would start it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from dsray_inspect.agent.compat import launch_variables as tables
from dsray_inspect.agent.compat.launch_variables import LaunchTable
from dsray_inspect.agent.launch.commands import (
    command,
    deepspeed_command,
    mpirun_command,
    torchrun_commands,
)
from dsray_inspect.agent.launch.contrasts import ON_KUBERNETES, changed
from dsray_inspect.agent.launch.environment import (
    HIDDEN,
    live_variables,
    passed_on,
    planned_rank,
)
from dsray_inspect.agent.launch.facts import LiveJob
from dsray_inspect.agent.launch.manifests import (
    Manifest,
    kubernetes_name,
    manifest_file,
    mpi_job,
    ray_job,
    train_job,
)
from dsray_inspect.agent.launch.notes import notes_of
from dsray_inspect.agent.launch.places import Place, even, numbered
from dsray_inspect.agent.launch.plan import (
    Command,
    LauncherName,
    LaunchPlan,
    LiveVariable,
    PlannedFile,
    PlannedNode,
)
from dsray_inspect.agent.launch.services import lost
from dsray_inspect.agent.model import Record, Snapshot

LOOPBACK: Final = "127.0.0.1"
_OF_EQUAL_PODS: Final = ("trainjob", "mpijob")


class _Start(Record, frozen=True, kw_only=True):
    """What every launcher's part of the plan is made of."""

    job: LiveJob
    entrypoint: str
    name: str
    nodes: tuple[PlannedNode, ...]
    master: tuple[str, int]
    given: dict[str, str]
    """What the command line or manifest gives every rank."""
    secrets: tuple[str, ...]


_Parts = tuple[tuple[Command, ...], tuple[PlannedFile, ...]]


def plan_of(job: LiveJob, snapshot: Snapshot, launcher: LauncherName, *, port: int) -> LaunchPlan:
    """Return the plan; the job has at least one rank that was seen."""
    set_by = tables_of(job, launcher)
    found = live_variables(job, set_by, is_rayjob=launcher == "rayjob")
    start = _start(job, launcher, others=found, port=port)
    others = tuple(
        variable
        for variable in found
        if variable.fate == "passed_on" or variable.name not in start.given
    )
    commands, files = _PARTS[launcher](start)
    ranks = tuple(
        planned_rank(
            job,
            place,
            live_rank=live,
            tables=set_by,
            given=start.given,
            inherits=launcher not in ON_KUBERNETES,
        )
        for place, live in _places(start)
    )
    return LaunchPlan(
        taken_at=snapshot.taken_at,
        job=snapshot.job,
        run=snapshot.run,
        live_kind=job.kind,
        launcher=launcher,
        world_size=job.world_size,
        nodes=start.nodes,
        program=job.program,
        function=job.function,
        commands=commands,
        files=files,
        ranks=ranks,
        others=others,
        own_prefixes=tuple(prefix for table in set_by for prefix in table.prefixes),
        lost=lost(job, launcher),
        changed=changed(job, launcher, ranks),
        notes=notes_of(job, launcher, others, is_even=len(start.nodes) == len(job.nodes)),
    )


def tables_of(job: LiveJob, launcher: LauncherName) -> tuple[LaunchTable, ...]:
    """Return who sets variables of a rank, in the order in which they do."""
    discovery = (tables.MPI_DISCOVERY,) if job.uses_deepspeed else ()
    by_launcher: dict[LauncherName, tuple[LaunchTable, ...]] = {
        "torchrun": (tables.TORCHRUN,),
        "deepspeed": (tables.DEEPSPEED,),
        "mpirun": (tables.MPIRUN, *discovery),
        "trainjob": (tables.TRAINER, tables.TORCHRUN),
        "mpijob": (tables.MPIRUN, *discovery),
        "rayjob": (
            tables.KUBERAY,
            tables.RAY,
            *(() if job.kind == "ray_actors" else (tables.RAY_TRAIN,)),
        ),
    }
    return by_launcher[launcher]


def _start(
    job: LiveJob,
    launcher: LauncherName,
    *,
    others: Sequence[LiveVariable],
    port: int,
) -> _Start:
    nodes = even(job.nodes) if launcher in _OF_EQUAL_PODS else job.nodes
    name = kubernetes_name(job.name)
    master = (_master(launcher, name, nodes), port)
    given = passed_on(others)

    # mpirun sets no address; DeepSpeed finds one by itself.
    if launcher in ("mpirun", "mpijob") and not job.uses_deepspeed:
        given = {**given, "MASTER_ADDR": master[0], "MASTER_PORT": str(port)}

    return _Start(
        job=job,
        entrypoint=job.entrypoint if job.is_rays else _line(job),
        name=name,
        nodes=nodes,
        master=master,
        given=given,
        secrets=tuple(variable.name for variable in others if variable.note == HIDDEN),
    )


def _line(job: LiveJob) -> str:
    return shlex.join((job.program.interpreter, *job.program.words))


def _master(launcher: LauncherName, name: str, nodes: Sequence[PlannedNode]) -> str:
    if launcher == "trainjob":
        return f"{name}-node-0-0.{name}"

    if launcher == "mpijob":
        return f"{name}-worker-0.{name}"

    # DeepSpeed's launcher insists on it where there is no hostfile.
    return LOOPBACK if launcher == "deepspeed" and len(nodes) == 1 else nodes[0].ip


def _places(start: _Start) -> list[tuple[Place, int]]:
    job, nodes = start.job, start.nodes
    program = job.program
    return [
        (
            Place(
                rank=rank,
                local_rank=local_rank,
                wrapped_rank=rank % len(nodes[node_rank].ranks),
                node_rank=node_rank,
                world_size=job.world_size,
                local_world_size=len(nodes[node_rank].ranks),
                nodes=len(nodes),
                local_ids=",".join(map(str, range(len(nodes[node_rank].ranks)))),
                threads=_threads(nodes[node_rank]),
                master_addr=start.master[0],
                master_port=start.master[1],
                interpreter=program.interpreter.rpartition("/")[2],
                arguments=" ".join(program.words),
            ),
            live,
        )
        for rank, local_rank, node_rank, live in numbered(nodes)
    ]


def _threads(node: PlannedNode) -> int:
    """Return how many threads Ray lets OpenMP have: a rank's CPUs, at least one."""
    return max(1, math.floor((node.cpus or 0.0) / len(node.ranks)))


def _torchrun(start: _Start) -> _Parts:
    found = torchrun_commands(
        start.job.program, start.nodes, master=start.master, given=start.given
    )
    return found, ()


def _deepspeed(start: _Start) -> _Parts:
    found, files = deepspeed_command(
        start.job.program,
        start.nodes,
        master=start.master,
        given=start.given,
        adds_local_rank=start.job.has_local_rank_argument,
    )
    return (found,), files


def _mpirun(start: _Start) -> _Parts:
    found, files = mpirun_command(
        start.job.program, start.nodes, given=start.given, secrets=start.secrets
    )
    return (found,), files


def _of_pods(make: Callable[..., Manifest]) -> Callable[[_Start], _Parts]:
    """Return what plans a manifest whose pods run the program itself."""

    def parts(start: _Start) -> _Parts:
        return _applied(
            make(
                start.name,
                start.job.program,
                start.nodes,
                given=start.given,
                secrets=start.secrets,
            )
        )

    return parts


def _ray_job(start: _Start) -> _Parts:
    return _applied(
        ray_job(
            start.name,
            start.entrypoint,
            start.nodes,
            given=start.given,
            secrets=start.secrets,
            ray_version=start.job.versions.get("ray"),
        )
    )


def _applied(manifest: Mapping[str, object]) -> _Parts:
    file = manifest_file(dict(manifest))
    return (command(("kubectl", "create", "-f", file.name), node_ip=None, env={}),), (file,)


_PARTS: Final[Mapping[LauncherName, Callable[[_Start], _Parts]]] = {
    "torchrun": _torchrun,
    "deepspeed": _deepspeed,
    "mpirun": _mpirun,
    "trainjob": _of_pods(train_job),
    "mpijob": _of_pods(mpi_job),
    "rayjob": _ray_job,
}
