"""The order of one sample: ask all actors at once, read from outside those that stay silent.

Calls to the controller and all workers leave together. Processes that have not answered within
`HEDGE_S` are also read from outside while their calls stay pending. After `ANSWER_S` a call is
given up if what was read explains the silence: the process is stopped, its GIL is held, its main
thread is in a task. A process that should answer, on a loaded machine, gets `PATIENCE_S`.
One that was given up in the last sample is known to be silent: `AGAIN_S` is enough.
Whether a GIL is held shows only in two dumps, so a second is taken of whoever seems to hold it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from dsray_inspect.agent.launchers.ray.actor_calls import ActorCalls, CallFailed
from dsray_inspect.agent.launchers.ray.adapters import Part, RunActors
from dsray_inspect.agent.launchers.ray.gcs import Gcs
from dsray_inspect.agent.launchers.ray.records import ActorRow, JobRow, NodeRow
from dsray_inspect.agent.launchers.ray.train import adapter_of, find_runs
from dsray_inspect.agent.model import OK
from dsray_inspect.agent.remote.startup_artifacts import own_record
from dsray_inspect.agent.sampling.decode import controller_report, failed_call, rank_report
from dsray_inspect.agent.sampling.node_readers import ExternalReadBatch, NodeReaders
from dsray_inspect.agent.sampling.observation import NO_INJECT, Observation, SampleRequest
from dsray_inspect.agent.sampling.process_probe import StackDump
from dsray_inspect.agent.sampling.rank_report import ControllerReport, RankReport
from dsray_inspect.agent.sampling.reachability import knock
from dsray_inspect.agent.sampling.session_cache import SessionCache
from dsray_inspect.agent.stacks.unresponsive import explain_silence, gil_keeper
from dsray_inspect.agent.unavailable import Unavailable

HEDGE_S = 0.3
ANSWER_S = 1.8
AGAIN_S = 0.5
PATIENCE_S = 6.0
MOST_HELPERS = 64
PATIENT_S = 0.2
"""How long a rank may wait, within `HEDGE_S`, to see its engine at work when it must be found."""


class Sampler:
    """Takes samples of runs of one cluster; close it."""

    def __init__(self, gcs: Gcs, calls: ActorCalls) -> None:
        self._gcs = gcs
        self._calls = calls
        self._readers = NodeReaders(calls)
        self._cache = SessionCache()
        self._session_dirs: dict[str, str] = {}

    def close(self) -> None:
        self._readers.close()

    def sample(self, job: JobRow, actors: RunActors | None, request: SampleRequest) -> Observation:
        """Return one sample; takes another when the worker group changed meanwhile."""
        started, taken_at = time.monotonic(), time.time()
        observation = self._take(job, actors, request)

        if observation.any_died:
            job, now = self.refresh(job, actors)

            if now is not None and living(now) and living(now) != living(observation.actors):
                observation = self._take(job, now, request)
                observation.notes.append(
                    "The worker group restarted while it was sampled; this is the new one."
                )
            else:
                observation.job, observation.actors = job, now
                observation.notes.append("Ranks ended while they were sampled.")

        observation.taken_at, observation.took_s = taken_at, time.monotonic() - started
        return observation

    def refresh(self, job: JobRow, actors: RunActors | None) -> tuple[JobRow, RunActors | None]:
        """Return job and run as Ray's tables have them now."""
        jobs = {row.job_id: row for row in self._gcs.jobs()}
        runs = find_runs(self._gcs.actors(job.job_id))
        same = [run for run in runs if actors is not None and run.is_same(actors)]
        return jobs.get(job.job_id, job), same[0] if same else actors

    def _take(self, job: JobRow, actors: RunActors | None, request: SampleRequest) -> Observation:
        observation = self._from_tables(job, actors, request)
        SamplePass(self._calls, self._readers, observation, self._cache).take()
        self._cache.complete_driver(observation)
        return observation

    def _from_tables(
        self, job: JobRow, actors: RunActors | None, request: SampleRequest
    ) -> Observation:
        """Return what Ray's tables say, before any process was asked."""
        observation = Observation(job=job, actors=actors, nodes=self._gcs.nodes(), request=request)

        if actors is not None and actors.controller is not None and not living(actors):
            observation.placement_groups = self._gcs.placement_groups(job.job_id)
            observation.available = self._gcs.available()

        if job.is_dead and job.submission_id is not None:
            observation.submission = self._gcs.submission(job.submission_id)

        if actors is not None and request.counters:
            observation.helpers = self._helpers(job)

        if actors is not None:
            observation.session_dirs = self._dirs_of(observation.nodes)

        if actors is not None and actors.some_ended:
            observation.exits = self._gcs.exits()

        return observation

    def _helpers(self, job: JobRow) -> list[ActorRow]:
        rows = self._gcs.actors(job.job_id)
        known = {
            row.actor_id for run in find_runs(rows) for row in (run.controller, *run.workers) if row
        }
        return [row for row in rows if row.alive and row.actor_id not in known][:MOST_HELPERS]

    def _dirs_of(self, nodes: list[NodeRow]) -> dict[str, str]:
        if any(node.alive and node.node_id not in self._session_dirs for node in nodes):
            self._session_dirs = {node.node_id: "" for node in nodes} | self._gcs.session_dirs()

        return self._session_dirs


def living(actors: RunActors | None) -> set[tuple[str, int]]:
    """Return node and pid of each living worker."""
    return {(row.node_id, row.pid) for row in actors.workers if row.alive} if actors else set()


class SamplePass:
    """One sample while it is taken."""

    def __init__(
        self,
        calls: ActorCalls,
        readers: NodeReaders,
        observation: Observation,
        cache: SessionCache,
    ) -> None:
        self._calls = calls
        self._readers = readers
        self._observation = observation
        self._cache = cache
        self._batch = ExternalReadBatch(readers, observation)
        self._pending: dict[str, tuple[ActorRow, Any]] = {}
        """By actor id: calls without an answer so far."""

    def take(self) -> None:
        started = time.monotonic()
        self._send_calls()
        self._read_known_outside()
        self._collect(HEDGE_S)
        self._batch.take_done()
        self._knock()

        if self._read_silent_outside():
            self._collect(self._answer_s() - (time.monotonic() - started))

        self._batch.take_all()
        self._dump_gil_holders_again()

        if self._pending:
            self._collect(PATIENCE_S - (time.monotonic() - started), could_answer_only=True)

        self._give_up(time.monotonic() - started)

    # Calls into actors

    def _send_calls(self) -> None:
        actors, ask = self._observation.actors, self._observation.request
        adapter = adapter_of(actors.generation) if actors else None
        request = {
            "until": time.time() + PATIENCE_S + 1,
            "max_pause_ms": ask.max_pause_ms,
            "patience_s": PATIENT_S if ask.counters else 0.0,
            "recorder": ask.recorder,
        }

        if adapter is not None and not adapter.controller_parts:
            self._observation.controller = Unavailable(
                reason="not_running", detail=adapter.without_controller
            )

        for row in self._living_rows():
            if not ask.inject:
                self._keep(row, NO_INJECT)
            elif adapter is not None and self._is_controller(row):
                start = (own_record,) if ask.start else ()
                self._send(row, (*adapter.controller_parts, *start), request)
            else:
                parts = self._cache.parts(row.actor_id, ask)
                env_state = self._cache.env_state(row.actor_id)
                self._send(row, parts, {**request, "environment": env_state})

    def _send(self, row: ActorRow, parts: Sequence[Part], request: dict[str, Any]) -> None:
        try:
            self._pending[row.actor_id] = (row, self._calls.send(row, parts, request))
        except CallFailed as failure:
            self._keep(row, failed_call(failure))

    def _collect(self, timeout_s: float, *, could_answer_only: bool = False) -> None:
        """Take the answers that come within `timeout_s`; a stopped process is not waited for."""
        waited = {
            key: reference
            for key, (row, reference) in self._pending.items()
            if not self._is_stopped(row) and not (could_answer_only and self._why_silent(row))
        }

        for actor_id, answer in self._calls.answers(waited, timeout_s).items():
            row, _ = self._pending.pop(actor_id)
            self._keep(row, failed_call(answer) if isinstance(answer, CallFailed) else answer)

    def _keep(self, row: ActorRow, answer: dict[str, Any] | Unavailable) -> None:
        if self._is_controller(row):
            self._observation.controller = (
                answer if isinstance(answer, Unavailable) else controller_report(answer)
            )
            return

        report = answer if isinstance(answer, Unavailable) else rank_report(answer)

        if isinstance(report, RankReport):
            report = self._cache.completed(row.actor_id, report)

        self._observation.ranks[row.actor_id] = report

    def _give_up(self, waited_s: float) -> None:
        for row, _ in self._pending.values():
            why = self._why_silent(row) or "busy, or the GIL is held"
            detail = f"its main thread did not answer in {waited_s:.1f} s: {why}"
            self._keep(row, Unavailable(reason="timeout", detail=detail))

        self._cache.silent = frozenset(self._pending)

    def _answer_s(self) -> float:
        return AGAIN_S if self._cache.silent.issuperset(self._pending) else ANSWER_S

    # Who is silent, and why

    def _living_rows(self) -> Iterator[ActorRow]:
        """Yield the living actors of the run."""
        actors = self._observation.actors

        if actors is not None:
            yield from (row for row in actors.workers if row.alive)

            if actors.controller is not None and actors.controller.alive:
                yield actors.controller

    def _is_controller(self, row: ActorRow) -> bool:
        return self._observation.actors is not None and row is self._observation.actors.controller

    def _silent_rows(self) -> list[ActorRow]:
        """Return the actors that gave no stacks so far."""
        return [row for row in self._living_rows() if not self._gave_stacks(row)]

    def _gave_stacks(self, row: ActorRow) -> bool:
        if self._is_controller(row):
            controller = self._observation.controller
            return isinstance(controller, ControllerReport) and controller.threads != ()

        report = self._observation.ranks.get(row.actor_id)
        return isinstance(report, RankReport) and report.threads != ()

    def _knock(self) -> None:
        """Ask whether the other nodes of silent ranks answer at all, before they are waited for."""
        silent = {
            row.node_id for row in self._silent_rows() if not self._readers.is_own(row.node_id)
        }
        places = {
            node.node_id: (node.ip, node.port)
            for node in self._observation.nodes
            if node.node_id in silent and node.alive and node.port
        }
        self._observation.reachable = knock(places)

    def _is_reachable(self, row: ActorRow) -> bool:
        return self._observation.reachable.get(row.node_id, OK) == OK

    def _is_stopped(self, row: ActorRow) -> bool:
        return self._observation.process(row.node_id, row.pid).state == "stopped"

    def _why_silent(self, row: ActorRow) -> str:
        """Return what explains that a process does not answer, as far as it was seen."""
        if self._is_stopped(row):
            return "the process is stopped (state T: SIGSTOP or a debugger)"

        if not self._is_reachable(row):
            return f"its node cannot be reached, {self._observation.reachable[row.node_id]}"

        probe = self._observation.process(row.node_id, row.pid)
        before = probe.earlier_stack.threads if probe.earlier_stack else None
        return (
            explain_silence(probe.stack.threads, before)
            if isinstance(probe.stack, StackDump)
            else ""
        )

    # Reads from outside

    def _read_known_outside(self) -> None:
        """Read the driver, our own node's processes and the GPUs; all workers if asked to."""
        job, ask = self._observation.job, self._observation.request
        nodes = {node.node_id: node for node in self._observation.nodes}

        for row in self._living_rows():
            has_gpus = row.node_id in nodes and nodes[row.node_id].resources.get("GPU", 0) > 0

            if ask.from_outside and (ask.only is None or row.actor_id in ask.only):
                self._batch.want(row.node_id, row.pid, stack=True, environ=not ask.inject)
            elif has_gpus or self._readers.is_own(row.node_id):
                self._batch.want(row.node_id, row.pid)

            if has_gpus or self._readers.is_own(row.node_id):
                self._batch.want_gpus(row.node_id)

        if not job.is_dead:
            # Of a driver without a run, what it does now is all there is to go by.
            alone = self._observation.actors is None
            self._batch.want(
                job.driver_node_id,
                job.driver_pid,
                threads=True,
                stack=alone or self._cache.needs_driver(job.job_id, ask),
                environ=ask.counters and ask.env,
            )

        for row in self._observation.helpers:
            self._batch.want(row.node_id, row.pid, threads=True)

        self._want_post_mortem()
        self._want_logs()
        self._batch.start()

    def _read_silent_outside(self) -> bool:
        """Read whoever gave no stacks; returns whether there was anybody."""
        silent = [row for row in self._silent_rows() if self._is_reachable(row)]
        actors = self._observation.actors

        for row in silent:
            if self._is_controller(row) and actors is not None and not actors.some_ended:
                self._want_post_mortem_on(row.node_id, {})  # it logged the ranks it gave out

        if not self._observation.request.from_outside:
            for row in silent:
                self._batch.want(row.node_id, row.pid, stack=True, environ=True)

            self._batch.start()

        return bool(silent)

    def _dump_gil_holders_again(self) -> None:
        """Dump those once more whose GIL seems to be held; in one dump it always is somebody's."""
        for row, _ in self._pending.values():
            stack = self._observation.process(row.node_id, row.pid).stack

            if isinstance(stack, StackDump) and gil_keeper(stack.threads, None) is not None:
                self._batch.want(row.node_id, row.pid, stack=True)

        self._batch.start()
        self._batch.take_all()

    def _want_post_mortem(self) -> None:
        """Read what is left of workers that have ended, and of a controller that has."""
        actors = self._observation.actors

        if actors is None or not actors.some_ended:
            return

        gone: dict[str, dict[str, int]] = {}

        for row in actors.workers:
            if not row.alive:
                gone.setdefault(row.node_id, {})[row.worker_id] = row.pid

        if actors.controller is not None:
            gone.setdefault(actors.controller.node_id, {})

        for node_id, workers in gone.items():
            self._want_post_mortem_on(node_id, workers)

    def _want_post_mortem_on(self, node_id: str, ended: dict[str, int]) -> None:
        """Read what a node keeps of ended workers (pid by worker id), and of the run if it has it."""
        actors = self._observation.actors
        controller = actors.controller if actors else None
        has_train_log = controller is not None and controller.node_id == node_id
        self._batch.want_post_mortem(
            node_id,
            {
                "session_dir": self._observation.session_dirs.get(node_id, ""),
                "controller": controller.worker_id if has_train_log and controller else None,
                "workers": ended,
            },
        )

    def _want_logs(self) -> None:
        """Read the ends of the log files of the ranks that were asked for, ended ones too."""
        actors, ask = self._observation.actors, self._observation.request
        wanted: dict[str, dict[str, int]] = {}

        for row in actors.workers if actors is not None and ask.log_lines else ():
            if row.worker_id and (ask.only is None or row.actor_id in ask.only):
                wanted.setdefault(row.node_id, {})[row.worker_id] = row.pid

        for node_id, workers in wanted.items():
            self._batch.want_logs(node_id, {"workers": workers, "lines": ask.log_lines})
