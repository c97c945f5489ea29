"""What another launcher does in another way: addresses, devices, threads, cores, order, script."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.launch.environment import DEVICES
from dsray_inspect.agent.launch.facts import LiveJob
from dsray_inspect.agent.launch.plan import (
    Contrast,
    LauncherName,
    PlannedRank,
    PlannedVariable,
)

ON_KUBERNETES: Final = ("trainjob", "mpijob", "rayjob")


_BINDING_KINDS: Final = ("mpi", "slurm")
"""Launchers that may bind ranks themselves."""
_BINDING: Final = (
    "unbound too, by --bind-to none; without it, 1 core each, or from 3 ranks on a NUMA node"
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
        *_binding(job, launcher),
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

    if not names and not planned:
        return []

    if planned:
        value = _said(ranks[0].env[planned[0]])
        other = f"{planned[0]}={value} for every rank of a node; LOCAL_RANK picks one"
    elif launcher not in ON_KUBERNETES and _is_inherited(job, names):
        other = "the same, if it is set where the launcher starts"
    elif launcher in ON_KUBERNETES:
        other = "not set: a rank sees all GPUs of its pod, and LOCAL_RANK picks one"
    else:
        other = "not set: a rank sees all GPUs of its node, and LOCAL_RANK picks one"

    return [("devices", live, other.replace("LOCAL_RANK", _local_rank_name(ranks)))]


def _is_inherited(job: LiveJob, names: list[str]) -> bool:
    sources = {
        live.env[name].source for live in job.ranks.values() for name in names if name in live.env
    }
    return sources == {"inherited"}


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


def _binding(job: LiveJob, launcher: LauncherName) -> list[tuple[str, str, str]]:
    if launcher not in ("mpirun", "mpijob") or job.kind in _BINDING_KINDS:
        return []

    return [("cores", "no rank is bound to cores", _BINDING)]


def _order(ranks: tuple[PlannedRank, ...]) -> list[tuple[str, str, str]]:
    moved = [rank for rank in ranks if rank.rank != rank.live_rank]

    if not moved:
        return []

    first = moved[0]
    return [
        (
            "order",
            "ranks are spread over the nodes in an order of their own",
            f"ranks are numbered node by node: today's rank {first.live_rank} becomes {first.rank}",
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
