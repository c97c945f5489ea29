"""The variables of each rank under another launcher, beside those of the live job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dsray_inspect.agent.compat.launch_variables import OF_A_PLACE, LaunchTable, LaunchVariable
from dsray_inspect.agent.compat.ray import (
    DEVICE_VARIABLES,
    NEWER_DEVICE_VARIABLES,
    PLUGIN_DEVICE_VARIABLES,
    VARIABLE_PREFIX,
)
from dsray_inspect.agent.launch.facts import LiveJob
from dsray_inspect.agent.launch.places import Place
from dsray_inspect.agent.launch.plan import (
    Fate,
    LiveVariable,
    PlannedRank,
    PlannedVariable,
)
from dsray_inspect.agent.model import EnvSource, EnvVar
from dsray_inspect.agent.remote.redaction import REDACTED

DEVICES: Final = DEVICE_VARIABLES | NEWER_DEVICE_VARIABLES | PLUGIN_DEVICE_VARIABLES
COMMAND: Final = "command"
"""Sets what the command line, or the manifest, gives each rank."""
TRAINING_PREFIXES: Final = (
    *("CUDA_", "NCCL_", "GLOO_", "TORCH", "OMP_", "DS_", "HF_", "LD_", "PYTHON", "UCX_", "FI_"),
    *("MKL_", "TRITON_", "PYTORCH_", "WANDB_"),
)
"""Inherited variables that matter to training begin so."""
_FATES: Final[Mapping[EnvSource, Fate]] = {
    "runtime_env": "passed_on",
    "user_code": "set_again",
    "deepspeed": "set_again",
    "inherited": "inherited",
    "ray": "gone",
    "ray_train": "gone",
    "launcher": "gone",
}
DIFFERS: Final = "differs between ranks, so no one command can pass it on"
HIDDEN: Final = "its value is redacted here, so set it yourself"
ONLY_RAYS: Final = "only Ray reads it"


def live_variables(
    job: LiveJob, tables: Sequence[LaunchTable], *, is_rayjob: bool
) -> tuple[LiveVariable, ...]:
    """Return what the live job has set and no table sets, and what becomes of each."""
    rows = {row.name: row for table in tables for row in table.variables}
    found = []

    for name in sorted({name for live in job.ranks.values() for name in live.env}):
        values = job.values(name)
        source = next(live.env[name].source for live in job.ranks.values() if name in live.env)
        is_kept = name not in rows or (rows[name].keeps and source in ("runtime_env", "inherited"))
        fate, note = _fate(name, values, source=source, is_rayjob=is_rayjob)

        if is_kept and (fate != "inherited" or name.startswith(TRAINING_PREFIXES)):
            found.append(
                LiveVariable(name=name, values=values, source=source, fate=fate, note=note)
            )

    return tuple(found)


def _fate(
    name: str, values: Sequence[str], *, source: EnvSource, is_rayjob: bool
) -> tuple[Fate, str]:
    fate = _FATES[source]

    if is_rayjob and source in ("ray", "ray_train"):
        return "set_again", ""

    if name in OF_A_PLACE:
        return "gone", ""

    if fate != "passed_on":
        return fate, ""

    if name.startswith(VARIABLE_PREFIX) and not is_rayjob:
        return "gone", ONLY_RAYS

    if len(values) > 1:
        return fate, DIFFERS

    return fate, HIDDEN if any(REDACTED in value for value in values) else ""


def passed_on(variables: Sequence[LiveVariable]) -> dict[str, str]:
    """Return the variables that a command or manifest can give all ranks."""
    return {
        variable.name: variable.values[0]
        for variable in variables
        if variable.fate == "passed_on" and not variable.note
    }


def planned_rank(
    job: LiveJob,
    place: Place,
    *,
    live_rank: int,
    tables: Sequence[LaunchTable],
    given: Mapping[str, str],
    inherits: bool,
) -> PlannedRank:
    """Return a rank with what sets each of its variables.

    Args:
        job: The live job.
        place: Where the rank is.
        live_rank: The rank of the live job that stands there.
        tables: Who sets variables, the last to do so last.
        given: What the command line gives every rank.
        inherits: Whether the launcher starts from the environment that the live ranks inherited.
    """
    live = job.ranks[live_rank].env
    env = {name: _planned(live.get(name), value, set_by=COMMAND) for name, value in given.items()}
    has_gpus = any(node.gpus for node in job.nodes)

    for table in tables:
        for row in table.variables:
            kept = row.keeps and (row.name in given or (inherits and _is_inherited(live, row)))
            is_idle = place.local_world_size < row.least_ranks
            is_rays_devices = row.name in DEVICES and row.value is None and not has_gpus

            if not (kept or is_idle or is_rays_devices):
                value = None if row.value is None else place.fill(row.value)
                env[row.name] = _planned(
                    live.get(row.name), value, set_by=table.setter, note=row.note
                )

    return PlannedRank(
        rank=place.rank,
        local_rank=place.local_rank,
        node_rank=place.node_rank,
        live_rank=live_rank,
        env=env,
    )


def _is_inherited(live: Mapping[str, EnvVar], row: LaunchVariable) -> bool:
    return row.name in live and live[row.name].source == "inherited"


def _planned(
    live: EnvVar | None, value: str | None, *, set_by: str, note: str = ""
) -> PlannedVariable:
    return PlannedVariable(
        value=value,
        set_by=set_by,
        note=note,
        live=None if live is None else live.value,
        live_source=None if live is None else live.source,
    )
