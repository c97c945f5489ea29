"""What the live job's launcher does and another does not, or does in another way.

The first table is of what Ray does beyond starting processes; a row without a word on a launcher
does not concern it. What is read of the live job fills the braces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from dsray_inspect.agent.launch.environment import DEVICES
from dsray_inspect.agent.launch.facts import LiveJob
from dsray_inspect.agent.launch.plan import (
    Contrast,
    LauncherName,
    LiveKind,
    PlannedRank,
    PlannedVariable,
)

ON_KUBERNETES: Final = ("trainjob", "mpijob", "rayjob")
_NOT_RAYS: Final = ("torchrun", "deepspeed", "mpirun", "trainjob", "mpijob")


class _Service(NamedTuple):
    """Something Ray does for a job; `others` says what stands in its place, by launcher."""

    topic: str
    kinds: tuple[LiveKind, ...]
    live: str
    others: Mapping[LauncherName, str]


def _all(words: str, **others: str) -> dict[LauncherName, str]:
    return {launcher: others.get(launcher, words) for launcher in _NOT_RAYS}


_SERVICES: Final = (
    _Service(
        "restarts",
        ("ray_train",),
        "FailureConfig(max_failures) starts the worker group again, on other nodes if need be{past}",
        _all(
            "none: when a rank fails, the launcher ends the others",
            torchrun="--max-restarts starts the ranks again on the same nodes; 0 unless given",
            trainjob="torchrun's --max-restarts inside a pod; the runtime's Job for whole pods",
            mpijob="spec.runPolicy.backoffLimit starts mpirun, and so all ranks, again",
        ),
    ),
    _Service(
        "restarts",
        ("ray_actors",),
        "max_restarts of an actor starts it again; its caller gets an error or a retry",
        _all(
            "none: when a rank fails, the launcher ends the others",
            torchrun="--max-restarts starts all ranks again on the same nodes; 0 unless given",
            trainjob="torchrun's --max-restarts inside a pod; the runtime's Job for whole pods",
            mpijob="spec.runPolicy.backoffLimit starts mpirun, and so all ranks, again",
        ),
    ),
    _Service(
        "Ray Data",
        ("ray_train", "ray_actors"),
        "{data}",
        _all("no data plane: each rank reads its own share, as with a DistributedSampler"),
    ),
    _Service(
        "reports",
        ("ray_train",),
        "ray.train.report() gathers metrics on the driver, in step on all ranks",
        _all("there is no session to report to: log from rank 0 instead"),
    ),
    _Service(
        "checkpoints",
        ("ray_train",),
        "checkpoints that are reported go to storage_path, and a restart gets the newest",
        _all("the script saves to storage that all nodes share, and finds the newest itself"),
    ),
    _Service(
        "arguments",
        ("ray_train",),
        "train_loop_config reaches the training function as a dict",
        _all("command-line arguments of the script, the same on every rank"),
    ),
    _Service(
        "driver",
        ("ray_actors",),
        "a driver, or an actor, calls methods of the ranks one by one",
        _all("nobody calls a rank: each runs the script from its first line to its end"),
    ),
    _Service(
        "placement",
        ("ray_train", "ray_actors"),
        "CPUs and GPUs are reserved{reserved}; ranks wait until all are free",
        _all(
            "nothing is reserved: you choose the nodes",
            trainjob="one pod per node asks for them; pods start together only with gang scheduling",
            mpijob="one pod per node asks for them; pods start together only with gang scheduling",
        ),
    ),
    _Service(
        "code",
        ("ray_train", "ray_actors"),
        "working_dir, py_modules and pip of the runtime environment go to every node",
        _all(
            "the script and its packages must be on every node, at the same path",
            trainjob="the image, or a volume, must have the script and its packages",
            mpijob="the image, or a volume, must have the script and its packages",
        ),
    ),
    _Service(
        "logs",
        ("ray_train", "ray_actors"),
        "every rank's output is kept on its node and printed by the driver",
        _all(
            "all ranks print to the launcher's terminal",
            torchrun="all ranks print to the terminal of their node; --log-dir keeps it",
            trainjob="all ranks of a pod print to its log",
            mpijob="all ranks print to the launcher pod's log",
        ),
    ),
)
_BINDING: Final = (
    "unbound too, by --bind-to none; without it, 1 core each, or from 3 ranks on a NUMA node"
)


def lost(job: LiveJob, launcher: LauncherName) -> tuple[Contrast, ...]:
    """Return what the live job's launcher did that the other will not."""
    past = f" ({job.past_groups} times so far)" if job.past_groups else ""
    data = (
        f"feeds the ranks ({', '.join(job.data_actors)})"
        if job.data_actors
        else "no actor of it runs in this job"
    )
    facts = {"past": past, "data": data, "reserved": _reserved(job)}
    return tuple(
        Contrast(topic=row.topic, live=row.live.format_map(facts), other=row.others[launcher])
        for row in _SERVICES
        if job.kind in row.kinds and launcher in row.others
    )


def changed(
    job: LiveJob, launcher: LauncherName, ranks: tuple[PlannedRank, ...]
) -> tuple[Contrast, ...]:
    """Return what the other launcher does in another way: addresses, devices, threads, order."""
    is_rays_still = job.is_rays and launcher == "rayjob"
    rows = [
        *(() if is_rays_still else _addresses(job, launcher, ranks)),
        *(() if is_rays_still else _devices(job, launcher, ranks)),
        *_threads(job, ranks),
        *_binding(launcher),
        *_order(ranks),
        *_processes(job, launcher),
        *_arguments(job, launcher),
    ]
    return tuple(Contrast(topic=topic, live=live, other=other) for topic, live, other in rows)


def _addresses(
    job: LiveJob, launcher: LauncherName, ranks: tuple[PlannedRank, ...]
) -> list[tuple[str, str, str]]:
    names = ("MASTER_ADDR", "MASTER_PORT")
    live = ":".join(shown(job.values(name)) for name in names)
    planned = [ranks[0].env.get(name) for name in names]
    other = ":".join(_said(variable) for variable in planned if variable is not None)
    how = "a free port of rank 0's node" if job.is_rays else "as it was started"

    if planned[0] is None:
        other = "nobody sets them"
    elif other == live:
        return []
    elif launcher not in ON_KUBERNETES:
        other += ", fixed: two such jobs on one node collide"

    return [("address", f"{live}, {how}" if job.values(names[0]) else "not set", other)]


def _devices(
    job: LiveJob, launcher: LauncherName, ranks: tuple[PlannedRank, ...]
) -> list[tuple[str, str, str]]:
    names = sorted(name for name in DEVICES if job.values(name))
    planned = sorted(name for name in DEVICES if name in ranks[0].env)
    live = "; ".join(f"{name}={_each(job, name)}" for name in names) or "no device list is set"

    if planned:
        value = _said(ranks[0].env[planned[0]])
        other = f"{planned[0]}={value} for every rank of a node; LOCAL_RANK picks one"
    elif launcher in ("trainjob", "mpijob"):
        other = "not set: a rank sees all GPUs of its pod, and LOCAL_RANK picks one"
    else:
        other = "not set: a rank sees all GPUs of its node, and LOCAL_RANK picks one"

    return [("devices", live, other.replace("LOCAL_RANK", _local_rank_name(ranks)))]


def _local_rank_name(ranks: tuple[PlannedRank, ...]) -> str:
    return "LOCAL_RANK" if "LOCAL_RANK" in ranks[0].env else "OMPI_COMM_WORLD_LOCAL_RANK"


def _threads(job: LiveJob, ranks: tuple[PlannedRank, ...]) -> list[tuple[str, str, str]]:
    name = "OMP_NUM_THREADS"
    planned = ranks[0].env.get(name)
    source = next((live.env[name].source for live in job.ranks.values() if name in live.env), None)
    live = f"{name}={shown(job.values(name))} ({source})" if source else f"{name} is not set"

    if planned is not None and job.values(name) == (planned.value,):
        return []

    if planned is not None:
        return [("threads", live, f"{name}={_said(planned)}, by {planned.set_by}")]

    if source in ("inherited", "runtime_env"):
        return [("threads", live, "the same, if it is set where the launcher starts")]

    return [("threads", live, f"{name} is not set: each rank uses all cores it may run on")]


def _binding(launcher: LauncherName) -> list[tuple[str, str, str]]:
    return (
        [("cores", "no rank is bound to cores", _BINDING)]
        if launcher in ("mpirun", "mpijob")
        else []
    )


def _order(ranks: tuple[PlannedRank, ...]) -> list[tuple[str, str, str]]:
    moved = [rank for rank in ranks if rank.rank != rank.live_rank]

    if not moved:
        return []

    one = moved[0]
    return [
        (
            "order",
            "ranks are spread over the nodes in an order of their own",
            f"ranks are numbered node by node: today's rank {one.live_rank} becomes {one.rank}",
        )
    ]


def _processes(job: LiveJob, launcher: LauncherName) -> list[tuple[str, str, str]]:
    if not job.is_rays or launcher == "rayjob":
        return []

    return [
        (
            "script",
            "one driver runs the script; ranks only run the function it sends them",
            "every rank runs the whole script; there is no driver and no controller",
        )
    ]


def _arguments(job: LiveJob, launcher: LauncherName) -> list[tuple[str, str, str]]:
    if not job.has_local_rank_argument or launcher == "deepspeed":
        return []

    return [
        (
            "arguments",
            "the launcher adds --local_rank=N to the script's own",
            "no such argument: the script reads LOCAL_RANK",
        )
    ]


def shown(values: tuple[str, ...]) -> str:
    """Return a variable's values over all ranks on one line."""
    return "/".join(values) if values else "not set"


def _each(job: LiveJob, name: str) -> str:
    values = job.values(name)
    return values[0] if len(values) == 1 else f"{shown(values[:4])}, one list per rank"


def _said(variable: PlannedVariable) -> str:
    """Return a variable's value, or what decides it."""
    return f"({variable.note})" if variable.value is None else variable.value


def _reserved(job: LiveJob) -> str:
    cpus = [node.cpus for node in job.nodes if node.cpus is not None]
    gpus = [node.gpus for node in job.nodes if node.gpus is not None]

    if not cpus:
        return ""

    return f" (here {sum(cpus):g} CPUs and {sum(gpus):g} GPUs in all)"
