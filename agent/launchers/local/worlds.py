"""Which processes of a machine form a world of ranks, and who started them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from dsray_inspect.agent.compat import launchers as shelf
from dsray_inspect.agent.compat.ray import RAYLET_PID_VARIABLE, WORKER_CLASS
from dsray_inspect.agent.model import Record

Kind = Literal["torchrun", "deepspeed", "mpi", "slurm", "ray_train", "ray_actors", "processes"]


class Ancestor(Record, frozen=True, kw_only=True):
    """A process above a rank."""

    pid: int
    command: str
    variables: dict[str, str]
    started_at: float


class TorchProcess(Record, frozen=True, kw_only=True):
    """A process that has torch in memory; its ancestors stand nearest first."""

    pid: int
    started_at: float
    command: str
    variables: dict[str, str]
    ancestors: tuple[Ancestor, ...]


class Place(Record, frozen=True, kw_only=True):
    """Which rank a process is; `world_size` and `local_rank` are None where nobody set them."""

    rank: int
    world_size: int | None
    local_rank: int | None


class World(Record, frozen=True, kw_only=True):
    """The ranks of one world that are on this machine, in order."""

    kind: Kind
    name: str
    """What a user types: the kind and the launcher's pid."""
    run_id: str
    """What the launcher calls the run; "" for nothing."""
    launcher: Ancestor | None
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


def place_of(variables: Mapping[str, str]) -> Place | None:
    """Return a process's place, None for one that no launcher gave one."""
    for names in shelf.RANK_VARIABLES:
        rank = _number(variables.get(names.rank))

        if rank is not None:
            return Place(
                rank=rank,
                world_size=_number(variables.get(names.world_size)),
                local_rank=_number(variables.get(names.local_rank)),
            )

    return None


def worlds_of(processes: Sequence[TorchProcess]) -> list[World]:
    """Return the worlds that these processes form, the newest last."""
    places = {process.pid: place_of(process.variables) for process in processes}
    grouped: dict[tuple[object, ...], list[TorchProcess]] = {}

    for process in processes:
        place = places[process.pid]

        if place is None or _is_helper(process, places):
            continue

        launcher = launcher_of(process, place)
        kind = kind_of(process, launcher)
        key = (kind, launcher.pid if launcher else 0, _master(process, kind))
        grouped.setdefault(key, []).append(process)

    worlds = [_world(members) for members in grouped.values()]
    return sorted(worlds, key=lambda world: max(one.started_at for one in world.ranks.values()))


def launcher_of(process: TorchProcess, place: Place) -> Ancestor | None:
    """Return the nearest ancestor that is not this rank itself (a shell around it, say)."""
    return next(
        (each for each in process.ancestors if place_of(each.variables) != place),
        None,
    )


def kind_of(process: TorchProcess, launcher: Ancestor | None) -> Kind:
    """Return who started a rank, the nearest launcher first: torchrun may itself run in Slurm."""
    variables, command = process.variables, launcher.command if launcher else ""

    if RAYLET_PID_VARIABLE in variables:
        return "ray_train" if WORKER_CLASS in process.command else "ray_actors"

    if shelf.RUN_ID in variables:
        return "torchrun"

    if any(part in command for part in shelf.DEEPSPEED_COMMANDS):
        return "deepspeed"

    if any(name.startswith(shelf.MPI_PREFIXES) for name in variables):
        return "mpi"

    return "slurm" if shelf.RANK_VARIABLES[-1].rank in variables else "processes"


def _is_helper(process: TorchProcess, places: Mapping[int, Place | None]) -> bool:
    """Return whether it is a child of a rank, such as a DataLoader's, which has its variables."""
    own = places[process.pid]
    return any(places.get(each.pid) == own for each in process.ancestors if each.pid in places)


def _master(process: TorchProcess, kind: Kind) -> str:
    """Return what tells the worlds of one launcher apart, "" where it has only one."""
    if kind not in ("ray_train", "ray_actors", "processes"):
        return ""

    return ":".join(process.variables.get(name, "") for name in shelf.MASTER)


def _world(members: list[TorchProcess]) -> World:
    first = members[0]
    place = place_of(first.variables)
    assert place is not None
    launcher = launcher_of(first, place)
    kind = kind_of(first, launcher)
    # Of two processes with one rank, the newer one is the rank: the other is on its way out.
    newest_last = sorted(members, key=lambda one: one.started_at)
    ranks = {found.rank: one for one in newest_last if (found := place_of(one.variables))}
    sizes = [found.world_size or 0 for one in members if (found := place_of(one.variables))]
    started_here = _number(first.variables.get(shelf.LOCAL_WORLD_SIZE))
    return World(
        kind=kind,
        name=f"{kind.replace('_', '-')}-{_named_after(kind, launcher, ranks)}",
        run_id=_run_id(first.variables),
        launcher=launcher,
        size=max([*sizes, max(ranks) + 1]),
        ranks=dict(sorted(ranks.items())),
        started_here=started_here,
    )


def _named_after(kind: Kind, launcher: Ancestor | None, ranks: Mapping[int, TorchProcess]) -> int:
    """Return the pid of the launcher, or of the first rank where a launcher has several worlds."""
    if launcher is None or kind in ("ray_train", "ray_actors"):
        return ranks[min(ranks)].pid

    return launcher.pid


def _run_id(variables: Mapping[str, str]) -> str:
    run_id = variables.get(shelf.RUN_ID, "")
    return run_id if run_id not in ("", "none") else variables.get(shelf.SLURM_JOB, "")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
