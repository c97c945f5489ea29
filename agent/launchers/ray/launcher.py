"""Ray as a launcher: runs of Ray Train V1 and V2, and worlds of plain actors, on one cluster."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.errors import TargetNotFound
from dsray_inspect.agent.handles import (
    Candidate,
    Holder,
    JobHandle,
    NodeHandle,
    PlacementGroup,
    ProcessHandle,
    RunHandle,
    TaskHandle,
)
from dsray_inspect.agent.launchers.base import CallFailed, Layout
from dsray_inspect.agent.launchers.ray.actor_calls import NAMESPACE, ActorCalls
from dsray_inspect.agent.launchers.ray.connect import connect
from dsray_inspect.agent.launchers.ray.gcs import Gcs
from dsray_inspect.agent.launchers.ray.holders import holders
from dsray_inspect.agent.launchers.ray.join_check import check_membership
from dsray_inspect.agent.launchers.ray.milestones import from_log
from dsray_inspect.agent.launchers.ray.places import (
    EVERYWHERE,
    NOWHERE,
    SOME_NODES,
    ActorPlaces,
)
from dsray_inspect.agent.launchers.ray.plain_actors import missing_note, missing_ranks
from dsray_inspect.agent.launchers.ray.preflight import RayPreflight
from dsray_inspect.agent.launchers.ray.resolve import choose, without_driver
from dsray_inspect.agent.launchers.ray.running_tasks import running_tasks
from dsray_inspect.agent.launchers.ray.start import read_start
from dsray_inspect.agent.launchers.ray.train import PLAIN, adapter_of, find_runs
from dsray_inspect.agent.launchers.ray.versions import check_versions
from dsray_inspect.agent.launchers.start import Milestones, StartFacts
from dsray_inspect.agent.remote.startup_artifacts import controller_log
from dsray_inspect.agent.unavailable import Unavailable

NAMING_S = 6.0
LOG_S = 2.0
MOST_HELPERS = 64
WITHOUT_CONTROLLER = Unavailable(reason="not_running", detail="no controller keeps how it started")
BUSY_ACTORS = Unavailable(
    reason="no_door", detail="a read inside a plain actor would wait behind the actor's own methods"
)


class RayLauncher:
    """One Ray cluster; see `launchers.base.Launcher`."""

    name = "ray"

    def __init__(self, address: str) -> None:
        connect(address)
        check_versions(address)
        self.address = address
        self._gcs = Gcs(address)
        self._calls: ActorCalls | None = None
        self._log_folders: dict[str, str] = {}
        self._places = ActorPlaces(self.node_readers)
        self._may_start_actors = True

    def close(self) -> None:
        if self._calls is not None:
            self._calls.close()

    def in_process(self, run: RunHandle | None = None) -> ActorCalls | Unavailable:
        """Return what reads inside actors; those of the user's own are left to their methods."""
        is_plain = run is not None and run.generation == PLAIN.generation
        return BUSY_ACTORS if is_plain else self._connection()

    def node_readers(self) -> ActorCalls:
        return self._connection()

    def preflight(self) -> RayPreflight:
        return RayPreflight(self.address, calls=self._connection())

    def runs(self, *, inject: bool = True) -> list[Candidate]:
        found: list[Candidate] = []

        for job in self._gcs.jobs():
            if is_our_own(job):
                continue

            found.extend(self._of_job(job, most_nodes=SOME_NODES if inject else NOWHERE))

        return self._named(found) if inject else found

    def find(self, name: str | None, *, inject: bool = True) -> Candidate:
        """Return the run that `name` means; see `launchers.ray.resolve.choose`.

        Raises:
            TargetNotFound: nothing is called so, or a submission whose driver has not joined Ray.
            AmbiguousTarget: several runs fit.
        """
        self._may_start_actors = inject

        try:
            return self._find(name, inject=inject)
        except TargetNotFound:
            submission = self._gcs.submission(name) if name else None

            if submission is None:
                raise

            raise without_driver(str(name), submission) from None

    def refresh(self, job: JobHandle, run: RunHandle | None) -> tuple[JobHandle, RunHandle | None]:
        jobs = {row.job_id: row for row in self._gcs.jobs()}
        is_wanted = self._may_start_actors and self._may_have_more_ranks(run)
        most_nodes = EVERYWHERE if is_wanted else NOWHERE
        runs = self._runs_of(job, self._gcs.actors(job.job_id), most_nodes=most_nodes)
        same = [other for other in runs if run is not None and other.is_same(run)]
        return jobs.get(job.job_id, job), same[0] if same else run

    def layout(self, job: JobHandle, run: RunHandle | None, *, helpers: bool = False) -> Layout:
        nodes = self._gcs.nodes()
        others = self._others(job) if run is not None and helpers and not job.is_dead else []
        pending = [row for row in others if row.starting and any(row.required.values())]
        waits = run is not None and run.controller is not None and not run.has_living_workers
        groups = self._gcs.placement_groups() if waits or pending else []
        is_over = job.is_dead and job.submission_id is not None
        return Layout(
            nodes=nodes,
            placement_groups=[group for group in groups if group.job_id == job.job_id],
            available=self._gcs.available() if waits or pending else {},
            holders=self._holders(groups) if waits or pending else [],
            pending=pending,
            submission=self._gcs.submission(str(job.submission_id)) if is_over else None,
            helpers=[row for row in others if row.alive][:MOST_HELPERS],
            log_folders=self._folders_of(nodes) if run is not None else {},
            exits=self._gcs.exits() if run is not None and run.some_ended else {},
            notes=self._notes(run),
        )

    def running_tasks(self, job: JobHandle) -> list[TaskHandle] | None:
        tasks = running_tasks(self.address)
        return None if tasks is None else [row for row in tasks if row.job_id == job.job_id]

    def start(self, job: JobHandle, run: RunHandle) -> StartFacts | Unavailable:
        if run.controller is None:
            return WITHOUT_CONTROLLER

        return read_start(self._gcs, job, run)

    def start_from_log(self, run: RunHandle) -> Milestones | None:
        controller = run.controller

        if controller is None or not controller.alive:
            return None

        try:
            request = {"until": time.time() + LOG_S}
            reference = self._connection().send(controller, (controller_log,), request)
        except CallFailed:
            return None

        answer = self._connection().answers({"": reference}, LOG_S).get("")
        lines = answer.get("log", ()) if isinstance(answer, dict) else ()
        return from_log([(int(at_ns), str(text)) for at_ns, text in lines]) if lines else None

    def _connection(self) -> ActorCalls:
        """Return our own connection as a driver, made when it is first needed."""
        if self._calls is None:
            check_membership(self._gcs.nodes())
            self._calls = ActorCalls(self.address)

        return self._calls

    def _of_job(self, job: JobHandle, *, most_nodes: int) -> list[Candidate]:
        """Return the runs of a job, or the job alone."""
        runs = self._runs_of(job, self._gcs.actors(job.job_id), most_nodes=most_nodes)
        return [
            Candidate(
                job=job,
                actors=run,
                run_name=run.name,
                state=_state_of(run),
                number=number,
                siblings=len(runs) - 1,
            )
            for number, run in enumerate(runs, start=1)
        ] or [Candidate(job=job, actors=None)]

    def _runs_of(
        self, job: JobHandle, actors: list[ProcessHandle], *, most_nodes: int
    ) -> list[RunHandle]:
        """Return a job's runs of Ray Train; where it has none, the worlds of its own actors.

        Which actors are ranks is asked on so many other nodes.
        """
        runs = find_runs(actors)

        if not runs and not job.is_dead:
            self._places.read(actors, most_nodes=most_nodes)

        return runs or PLAIN.runs(actors, self._places.known)

    def _find(self, name: str | None, *, inject: bool) -> Candidate:
        quick = self.runs(inject=False)
        running = [
            candidate
            for candidate in quick
            if candidate.actors is not None and candidate.actors.alive
        ]
        by_job = [
            candidate for candidate in quick if name is not None and candidate.is_called(name)
        ]

        meant = {candidate.job.job_id for candidate in (running if name is None else by_job)}
        found = choose(self.runs() if inject and len(meant) != 1 else quick, name)

        if found.job.is_dead or not inject or not self._may_have_more_ranks(found.actors):
            return found

        return choose(self._of_job(found.job, most_nodes=EVERYWHERE), name)

    def _named(self, candidates: list[Candidate]) -> list[Candidate]:
        """Ask the living controllers for run id, name and state."""
        references: dict[str, Any] = {}

        for number, candidate in enumerate(candidates):
            run = candidate.actors

            if run is None or run.controller is None or not run.controller.alive:
                continue

            parts = self._connection().controller_parts(run)

            if not isinstance(parts, Unavailable):
                try:
                    references[str(number)] = self._connection().send(
                        run.controller, parts, {"until": time.time() + NAMING_S + 1}
                    )
                except CallFailed:
                    continue

        answers = self._connection().answers(references, NAMING_S) if references else {}
        return [
            with_names(candidate, answers.get(str(number)))
            for number, candidate in enumerate(candidates)
        ]

    def _others(self, job: JobHandle) -> list[ProcessHandle]:
        """Return the job's actors that belong to no run."""
        rows = self._gcs.actors(job.job_id)
        runs = find_runs(rows) or PLAIN.runs(rows, self._places.known)
        known = {row.actor_id for run in runs for row in (run.controller, *run.workers) if row}
        return [row for row in rows if row.actor_id not in known]

    def _may_have_more_ranks(self, run: RunHandle | None) -> bool:
        """Return whether actors of other nodes may be ranks that are not known yet."""
        return run is None or bool(self._missing_ranks(run))

    def _notes(self, run: RunHandle | None) -> list[str]:
        if run is None:
            return []

        missing = self._missing_ranks(run)
        notes = [missing_note(missing, len(run.workers))] if missing else []
        adapter = adapter_of(run.generation)

        if run.controller is not None and run.controller.alive and not adapter.controller_parts:
            notes.append(f"{adapter.without_controller}.")

        return notes

    def _missing_ranks(self, run: RunHandle | None) -> list[int]:
        """Return the ranks of a world of plain actors that are not known."""
        is_plain = run is not None and run.generation == PLAIN.generation
        return missing_ranks(run, self._places.known) if run is not None and is_plain else []

    def _holders(self, groups: list[PlacementGroup]) -> list[Holder]:
        tasks = running_tasks(self.address) or []
        return holders(self._gcs.jobs(), groups, self._gcs.actors(None), tasks)

    def _folders_of(self, nodes: list[NodeHandle]) -> dict[str, str]:
        if any(node.alive and node.node_id not in self._log_folders for node in nodes):
            self._log_folders = {node.node_id: "" for node in nodes} | self._gcs.session_dirs()

        return self._log_folders


def is_our_own(job: JobHandle) -> bool:
    """Return whether a driver is a dsray-inspect or a part of Ray itself."""
    return job.namespace == NAMESPACE or job.entrypoint.startswith(shelf.PROCESS_TITLE)


def _state_of(run: RunHandle) -> str | None:
    """Return the state of a run that has no controller to ask, None where it has one."""
    if adapter_of(run.generation).controller_parts or not run.alive:
        return None

    return "RUNNING" if run.has_living_workers else "STARTING"


def with_names(candidate: Candidate, answer: Any) -> Candidate:
    if not isinstance(answer, dict):
        return candidate

    return msgspec.structs.replace(
        candidate,
        run_id=answer.get("run_id"),
        run_name=answer.get("run_name"),
        state=answer.get("state"),
        attempt=answer.get("attempt"),
    )
