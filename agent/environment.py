"""Which component set each environment variable of a rank, and where ranks differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from dsray_inspect.agent.compat import deepspeed, ray
from dsray_inspect.agent.model import EnvSource, EnvVar, Record

_RAY_TRAIN = ray.TRAIN_VARIABLES | ray.NEWER_TRAIN_VARIABLES
# Visible devices: set by Ray for the actor, and again by Ray Train when the workers of a node share
# theirs.
_DEVICES = ray.DEVICE_VARIABLES | ray.NEWER_DEVICE_VARIABLES | ray.PLUGIN_DEVICE_VARIABLES
_DEEPSPEED = deepspeed.VARIABLES | deepspeed.NEWER_VARIABLES
# Set by Python itself when it starts in the C locale (PEP 538).
_INTERPRETER = frozenset(["LC_CTYPE"])

_PER_RANK = frozenset(
    "RANK LOCAL_RANK NODE_RANK LOCAL_WORLD_SIZE GROUP_RANK ROLE_RANK ROLE_WORLD_RANK CROSS_RANK "
    "ACCELERATE_TORCH_DEVICE MEGASCALE_PORT MEGASCALE_SLICE_ID PMI_RANK PMIX_RANK "
    "SLURM_PROCID SLURM_LOCALID SLURM_NODEID SLURM_TASK_PID SLURM_GTIDS "
    "TORCHELASTIC_ERROR_FILE OMPI_MCA_ess_base_vpid OMPI_MCA_orte_ess_node_rank".split()
)
_PER_PROCESS = frozenset(
    "_ SHLVL PWD OLDPWD WINDOWID TMUX TMUX_PANE STY SSH_CLIENT SSH_CONNECTION SSH_TTY "
    "SSH_AUTH_SOCK XDG_SESSION_ID XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS INVOCATION_ID "
    "JOURNAL_STREAM SYSTEMD_EXEC_PID".split()
)
_PER_NODE = frozenset(
    "HOSTNAME HOST NODE_NAME NODE_IP HOST_IP POD_NAME POD_IP POD_UID MY_POD_NAME MY_POD_IP "
    "NVIDIA_VISIBLE_DEVICES GPU_DEVICE_ORDINAL SLURMD_NODENAME VLLM_HOST_IP".split()
)
_RAY_IDENTITY = re.compile(r"RAY_\w*(?:_ID|_PID|_PORT|_IP|_ADDRESS|_NAME|_DIR|_HANDLE)\Z")
_MPI_IDENTITY = re.compile(r"(?:OMPI_COMM_WORLD|PMIX?|MPI)_\w*(?:RANK|ID|NAMESPACE|URI\d*)\Z")


class ValueOnRanks(Record, frozen=True, kw_only=True):
    """One value of a variable and the ranks that have it; None if it is not set."""

    value: str | None
    source: EnvSource | None
    ranks: tuple[int, ...]


class Difference(Record, frozen=True, kw_only=True):
    """A variable whose value is not the same on all ranks, the most common value first."""

    name: str
    values: tuple[ValueOnRanks, ...]


class Differences(Record, frozen=True, kw_only=True):
    """Variables that are expected to differ between ranks, and those that are not (`drift`)."""

    expected: tuple[Difference, ...] = ()
    drift: tuple[Difference, ...] = ()


def explain(
    env: Mapping[str, str],
    *,
    set_after_exec: frozenset[str],
    from_parent: frozenset[str] | None,
    runtime_env: Mapping[str, str],
    started_by_ray: bool = True,
    is_ray_trains: bool = True,
) -> dict[str, EnvVar]:
    """Return each variable with the component that set it, by name.

    Args:
        env: The live environment.
        set_after_exec: Names whose value differs from the one at process start.
        from_parent: Names that the process's raylet or launcher has too, None if unknown.
        runtime_env: The `env_vars` of the job's or worker's runtime environment.
        started_by_ray: Whether a raylet started the process.
        is_ray_trains: Whether it is a worker of Ray Train, and no actor of the user's own.
    """
    if not started_by_ray:
        sources = {
            name: _source_outside_ray(
                name,
                is_later=name in set_after_exec,
                is_launchers=from_parent is not None and name not in from_parent,
            )
            for name in env
        }
    else:
        sources = {
            name: _set_later(name, env, is_ray_trains=is_ray_trains)
            if name in set_after_exec
            else _set_at_start(name, from_parent, runtime_env)
            for name in env
        }

    return {name: EnvVar(value=env[name], source=sources[name]) for name in sorted(env)}


def _set_at_start(
    name: str, from_parent: frozenset[str] | None, runtime_env: Mapping[str, str]
) -> EnvSource:
    if name in runtime_env:
        return "runtime_env"

    if from_parent is not None and name in from_parent:
        return "inherited"

    if name.startswith(ray.TRAIN_VARIABLE_PREFIX) or name in _RAY_TRAIN:
        return "ray_train"

    # The raylet does not have it itself, so it added it for the worker.
    by_ray = (
        name.startswith(ray.VARIABLE_PREFIX)
        or name in ray.WORKER_VARIABLES
        or name in _DEVICES
        or from_parent is not None
    )
    return "ray" if by_ray else "inherited"


def _source_outside_ray(name: str, *, is_later: bool, is_launchers: bool) -> EnvSource:
    if not is_later:
        return "launcher" if is_launchers else "inherited"

    if name in _DEEPSPEED:
        return "deepspeed"

    return "inherited" if name in _INTERPRETER else "user_code"


def _set_later(name: str, env: Mapping[str, str], *, is_ray_trains: bool) -> EnvSource:
    if is_ray_trains and (name in _RAY_TRAIN or name.startswith(ray.TRAIN_VARIABLE_PREFIX)):
        return "ray_train"

    if name in _DEVICES:
        return "ray_train" if is_ray_trains and _is_shared(env[name], env) else "ray"

    if name in ray.WORKER_VARIABLES or name.startswith(ray.VARIABLE_PREFIX):
        return "ray"

    if name in _DEEPSPEED:
        return "deepspeed"

    return "inherited" if name in _INTERPRETER else "user_code"


def _is_shared(devices: str, env: Mapping[str, str]) -> bool:
    """Return whether a list of devices covers all workers of the node."""
    try:
        workers = int(env.get("LOCAL_WORLD_SIZE", ""))
    except ValueError:
        return False

    return 1 < workers <= len(devices.split(","))


Standing = Literal["per_rank", "per_process", "per_node", "device", "ray_session", "mpi", "plain"]
"""What a variable belongs to; only a plain one should be the same everywhere."""


def standing_of(name: str) -> Standing:
    """Return what a variable belongs to, by its name."""
    if name in _PER_RANK:
        return "per_rank"

    if name in _PER_PROCESS:
        return "per_process"

    if name in _PER_NODE:
        return "per_node"

    if name in _DEVICES:
        return "device"

    if not name.startswith(ray.TRAIN_VARIABLE_PREFIX) and _RAY_IDENTITY.match(name) is not None:
        return "ray_session"

    return "mpi" if _MPI_IDENTITY.match(name) is not None else "plain"


def _is_expected_to_differ(name: str) -> bool:
    """Return whether a variable normally differs between ranks."""
    return standing_of(name) != "plain"


def differences(envs: Mapping[int, Mapping[str, EnvVar]]) -> Differences:
    """Return the variables that differ between ranks; ranks without a known environment do not count."""
    known = {rank: env for rank, env in envs.items() if env}
    expected: list[Difference] = []
    drift: list[Difference] = []
    for name in sorted({name for env in known.values() for name in env}):
        values = _values(name, known)
        if len(values) > 1:
            kind = expected if _is_expected_to_differ(name) else drift
            kind.append(Difference(name=name, values=values))

    return Differences(expected=tuple(expected), drift=tuple(drift))


def _values(name: str, envs: Mapping[int, Mapping[str, EnvVar]]) -> tuple[ValueOnRanks, ...]:
    ranks: dict[str | None, list[int]] = {}
    sources: dict[str | None, EnvSource | None] = {}
    for rank in sorted(envs):
        variable = envs[rank].get(name)
        value = None if variable is None else variable.value
        ranks.setdefault(value, []).append(rank)
        sources.setdefault(value, None if variable is None else variable.source)

    found = [
        ValueOnRanks(value=value, source=sources[value], ranks=tuple(having))
        for value, having in ranks.items()
    ]
    return tuple(sorted(found, key=lambda group: (-len(group.ranks), group.ranks)))
