"""Which processes of a machine form a world of ranks, and who started them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from dsray_inspect.agent.compat import launchers as shelf
from dsray_inspect.agent.compat.ray import RAYLET_PID_VARIABLE, WORKER_CLASS
from dsray_inspect.agent.launchers.rank_place import Place, number_in, place_of
from dsray_inspect.agent.model import Record

Kind = Literal["torchrun", "deepspeed", "mpi", "slurm", "ray_train", "ray_actors", "processes"]
_OF_SEVERAL_WORLDS: Final[tuple[Kind, ...]] = ("ray_train", "ray_actors", "processes")
"""Kinds whose launcher, a raylet or a shell, may have started more than one world."""


class Launcher(Record, frozen=True, kw_only=True):
    """The process that started a rank."""

    pid: int
    command: str
    started_at: float


class TorchProcess(Record, frozen=True, kw_only=True):
    """A process that has torch loaded; the pids of its ancestors stand nearest first."""

    pid: int
    started_at: float
    command: str
    argv: tuple[str, ...] = ()
    """The words of its command line, without secrets."""
    variables: dict[str, str]
    ancestors: tuple[int, ...]
    launcher: Launcher | None


class World(Record, frozen=True, kw_only=True):
    """The ranks of one world that are on this machine, in order."""

    kind: Kind
    name: str
    """What a user types: the kind and the launcher's pid."""
    run_id: str
    """What the launcher calls the run; "" for nothing."""
    launcher: Launcher | None
    size: int
    ranks: dict[int, TorchProcess]
    started_here: int | None
    """How many ranks the launcher started on this machine, None where it does not say."""

    @property
    def missing(self) -> tuple[int, ...]:
        """The ranks that are not on this machine."""
        return tuple(rank for rank in range(self.size) if rank not in self.ranks)

    @property
    def is_all_here(self) -> bool:
        """Whether all of its ranks were started on this machine."""
        return self.started_here == self.size


def worlds_of(processes: Sequence[TorchProcess]) -> list[World]:
    """Return the worlds that these processes form, the newest last."""
    places = {
        process.pid: place for process in processes if (place := _place_of(process)) is not None
    }
    grouped: dict[tuple[object, ...], dict[int, TorchProcess]] = {}

    # Of two processes with one rank, the newer one is the rank: the other is on its way out.
    for process in sorted(processes, key=lambda process: process.started_at):
        place = places.get(process.pid)

        if place is None or _is_helper(process, places) or _starts_ranks(process, processes):
            continue

        kind = kind_of(process)
        launcher_pid = process.launcher.pid if process.launcher else 0
        grouped.setdefault((kind, launcher_pid, _master(process, kind)), {})[place.rank] = process

    worlds = [_world(ranks, places) for ranks in grouped.values()]
    return sorted(
        worlds, key=lambda world: max(member.started_at for member in world.ranks.values())
    )


def _place_of(process: TorchProcess) -> Place | None:
    """Return a process's place, None for one that no launcher gave one.

    What Ray starts inherits the variables of the launcher that started Ray, and is no rank by them.
    """
    is_rays = RAYLET_PID_VARIABLE in process.variables
    return place_of(process.variables, shelf.RANK_VARIABLES[: 1 if is_rays else None])


def kind_of(process: TorchProcess) -> Kind:
    """Return who started a rank, the nearest launcher first: torchrun may itself run in Slurm."""
    variables, command = process.variables, process.launcher.command if process.launcher else ""

    if RAYLET_PID_VARIABLE in variables:
        return "ray_train" if WORKER_CLASS in process.command else "ray_actors"

    if shelf.RUN_ID in variables:
        return "torchrun"

    if any(part in command for part in shelf.DEEPSPEED_COMMANDS):
        return "deepspeed"

    if any(name.startswith(shelf.MPI_PREFIXES) for name in variables):
        return "mpi"

    return "slurm" if shelf.SLURM_RANK in variables else "processes"


def _is_helper(process: TorchProcess, places: Mapping[int, Place]) -> bool:
    """Return whether it is a child of a rank, such as a DataLoader's, which has its variables."""
    return any(places.get(pid) == places[process.pid] for pid in process.ancestors)


def _starts_ranks(process: TorchProcess, others: Sequence[TorchProcess]) -> bool:
    """Return whether it is itself a launcher, such as the torchrun that Slurm gave a rank."""
    has_own_rank = shelf.RANK_VARIABLES[0].rank in process.variables
    return not has_own_rank and any(
        other.launcher is not None and other.launcher.pid == process.pid for other in others
    )


def _master(process: TorchProcess, kind: Kind) -> str:
    """Return what tells the worlds of one launcher apart, "" where it has only one."""
    if kind not in _OF_SEVERAL_WORLDS:
        return ""

    return ":".join(process.variables.get(name, "") for name in shelf.MASTER)


def _world(ranks: Mapping[int, TorchProcess], places: Mapping[int, Place]) -> World:
    first = ranks[min(ranks)]
    kind = kind_of(first)
    named_after = first if first.launcher is None or kind in _OF_SEVERAL_WORLDS else first.launcher
    sizes = [places[process.pid].world_size or 0 for process in ranks.values()]
    return World(
        kind=kind,
        name=f"{kind.replace('_', '-')}-{named_after.pid}",
        run_id=_run_id(first.variables),
        launcher=first.launcher,
        size=max([*sizes, max(ranks) + 1]),
        ranks=dict(sorted(ranks.items())),
        started_here=number_in(first.variables.get(shelf.LOCAL_WORLD_SIZE)),
    )


def _run_id(variables: Mapping[str, str]) -> str:
    run_id = variables.get(shelf.RUN_ID, "")
    return run_id if run_id not in ("", "none") else variables.get(shelf.SLURM_JOB, "")
