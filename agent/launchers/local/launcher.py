"""This machine as a launcher: worlds of torch.distributed, whoever started them, without Ray."""

from __future__ import annotations

import socket

import msgspec

from dsray_inspect.agent.errors import AmbiguousTarget, TargetNotFound
from dsray_inspect.agent.handles import (
    ALIVE,
    DEAD,
    Candidate,
    JobHandle,
    NodeHandle,
    ProcessHandle,
    RunHandle,
)
from dsray_inspect.agent.launchers.base import Layout
from dsray_inspect.agent.launchers.local.worlds import TorchProcess, World, worlds_of
from dsray_inspect.agent.launchers.start import Milestones
from dsray_inspect.agent.launchers.this_machine import LOOPBACK, ThisMachine
from dsray_inspect.agent.remote.rank_processes import is_running, torch_processes
from dsray_inspect.agent.unavailable import Unavailable

NO_DOOR = Unavailable(
    reason="no_door", detail="nothing can be run inside a process that Ray did not start"
)
NO_CLUSTER = Unavailable(reason="not_asked", detail="outside Ray there is no cluster to check")
NO_START = Unavailable(reason="not_asked", detail="outside Ray nobody keeps how a run started")


class LocalLauncher:
    """All worlds of ranks on this machine; see `launchers.base.Launcher`."""

    name = "local"
    address = "this machine"

    def __init__(self) -> None:
        self._hostname = socket.gethostname()
        self._hidden = 0
        self._last: dict[str, World] = {}

    def close(self) -> None:
        pass

    def runs(self, *, inject: bool = True) -> list[Candidate]:
        return [self._candidate(world) for world in self._worlds()]

    def find(self, name: str | None, *, inject: bool = True) -> Candidate:
        """Return the world that `name` means: its name, its run's id, or the pid of one of its
        processes.

        Raises:
            TargetNotFound: No world is called so, or none can be seen.
            AmbiguousTarget: Several worlds fit.
        """
        worlds = self._worlds()
        fitting = worlds if name is None else [each for each in worlds if is_called(each, name)]

        if len(fitting) == 1:
            return self._candidate(fitting[0])

        if fitting:
            raise AmbiguousTarget(
                f"{len(fitting)} worlds of ranks run on this machine: "
                f"{', '.join(each.name for each in fitting)}.",
                help_text=f"Name one, for example: dsray-inspect attach --local {fitting[-1].name}",
            )

        raise self._not_found(worlds, name)

    def refresh(self, job: JobHandle, run: RunHandle | None) -> tuple[JobHandle, RunHandle | None]:
        """Return the run as it is now; ranks that were there before and are gone have ended.

        As long as all of its ranks are there, the processes of the machine are not searched.
        """
        if run is not None and all(is_running(row.pid, row.started_at) for row in run.workers):
            return job, run

        now = next((each for each in self.runs() if each.job.job_id == job.job_id), None)

        if now is None or now.actors is None or run is None:
            return self._ended(job, run)

        if now.actors.is_same(run) and _pids(now.actors) <= _pids(run):
            there = {row.rank for row in now.actors.workers if row.alive}
            gone = tuple(_dead(row) for row in run.workers if row.rank not in there)
            living = tuple(row for row in now.actors.workers if row.alive)
            workers = sorted((*living, *gone), key=lambda row: row.rank or 0)
            return now.job, msgspec.structs.replace(now.actors, workers=tuple(workers))

        return now.job, now.actors

    def layout(self, job: JobHandle, run: RunHandle | None, *, helpers: bool = False) -> Layout:
        node = NodeHandle(
            node_id=self._hostname, ip=LOOPBACK, hostname=self._hostname, alive=True, resources={}
        )
        return Layout(nodes=[node], notes=self._notes(job))

    def running_tasks(self, job: JobHandle) -> None:
        return None

    def in_process(self, run: RunHandle | None = None) -> Unavailable:
        return NO_DOOR

    def node_readers(self) -> ThisMachine:
        return ThisMachine(self._hostname)

    def preflight(self) -> Unavailable:
        return NO_CLUSTER

    def start(self, job: JobHandle, run: RunHandle) -> Unavailable:
        return NO_START

    def start_from_log(self, run: RunHandle) -> Milestones | None:
        return None

    def _worlds(self) -> list[World]:
        found = torch_processes()
        self._hidden = found["hidden"]
        worlds = worlds_of([msgspec.convert(each, TorchProcess) for each in found["processes"]])
        self._last = {world.name: world for world in worlds}
        return worlds

    def _candidate(self, world: World) -> Candidate:
        run = RunHandle(
            generation=world.kind,
            controller=None,
            workers=tuple(self._rows(world)),
            name=world.name,
        )
        return Candidate(
            job=self._job(world),
            actors=run,
            run_id=world.run_id or None,
            run_name=world.name,
            state="RUNNING",
        )

    def _job(self, world: World) -> JobHandle:
        launcher, first = world.launcher, next(iter(world.ranks.values()))
        return JobHandle(
            job_id=world.name,
            submission_id=None,
            entrypoint=launcher.command if launcher else first.command,
            namespace="",
            driver_pid=launcher.pid if launcher else 0,
            driver_ip=LOOPBACK,
            driver_node_id=self._hostname,
            is_dead=False,
            started_at=launcher.started_at if launcher else first.started_at,
            ended_at=None,
            runtime_env_vars={},
        )

    def _rows(self, world: World) -> list[ProcessHandle]:
        """Return the ranks of a world; those that its launcher started here and are gone, too."""
        ranks: dict[int, TorchProcess | None] = dict(world.ranks)

        if world.is_all_here:
            ranks |= dict.fromkeys(world.missing)

        return [self._row(world, rank, ranks[rank]) for rank in sorted(ranks)]

    def _row(self, world: World, rank: int, process: TorchProcess | None) -> ProcessHandle:
        pid = process.pid if process else 0
        return ProcessHandle(
            actor_id=f"{world.name}/{rank}/{pid}",
            job_id=world.name,
            class_name=world.kind,
            state=ALIVE if process else DEAD,
            pid=pid,
            node_id=self._hostname,
            node_ip=LOOPBACK,
            owner_worker_id=world.name,
            runtime_env_vars={},
            started_at=process.started_at if process else 0.0,
            rank=rank,
            argv=process.argv if process else (),
        )

    def _ended(self, job: JobHandle, run: RunHandle | None) -> tuple[JobHandle, RunHandle | None]:
        """Return a run of which no rank is left; its launcher may still restart it."""
        is_over = not is_running(job.driver_pid, job.started_at)
        job = msgspec.structs.replace(job, is_dead=is_over)

        if run is None:
            return job, None

        return job, msgspec.structs.replace(run, workers=tuple(_dead(row) for row in run.workers))

    def _notes(self, job: JobHandle) -> list[str]:
        """Return which ranks of a world were not started here, and so are not shown."""
        world = self._last.get(job.job_id)

        if world is None or world.is_all_here or not world.missing:
            return []

        missing = f"{len(world.missing)} of {world.size} ranks"
        return [f"{missing} are not on this machine, and what they do is not known."]

    def _not_found(self, worlds: list[World], name: str | None) -> TargetNotFound:
        names = ", ".join(each.name for each in worlds)

        if name is not None and worlds:
            return TargetNotFound(
                f"This machine has no world of ranks called {name}.",
                help_text=f"There are: {names}.",
            )

        hidden = (
            f" {self._hidden} processes of other users cannot be seen; run it as their user or root."
            if self._hidden
            else ""
        )
        return TargetNotFound(
            "No process on this machine is a rank of torch.distributed.",
            help_text="A rank has torch loaded and RANK, OMPI_COMM_WORLD_RANK, PMI_RANK or "
            f"SLURM_PROCID set.{hidden}",
        )


def is_called(world: World, name: str) -> bool:
    """Return whether a user means this world by `name`."""
    pids = {str(process.pid) for process in world.ranks.values()}
    launcher = {str(world.launcher.pid)} if world.launcher else set()
    return name in {world.name, world.run_id, *pids, *launcher}


def _dead(row: ProcessHandle) -> ProcessHandle:
    return msgspec.structs.replace(row, state=DEAD)


def _pids(run: RunHandle) -> set[int]:
    return {row.pid for row in run.workers if row.alive}
