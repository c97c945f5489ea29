"""The order of one look: ask all actors at once, look from outside at what stays silent.

Calls to the controller and all workers leave together. Those that are silent after `HEDGE_S`
are looked at from outside while their call may still answer. After `ANSWER_S` a call is given
up if what was seen explains the silence: the process is stopped, its GIL is held, its main
thread is in a task. A process that should answer, on a loaded machine, gets `PATIENCE_S`.
One that was given up in the look before is known to be silent: `AGAIN_S` is enough.
Whether a GIL is held shows only in two dumps, so a second is taken of who seems to hold it.
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
from dsray_inspect.agent.sampling.node_readers import ExternalReadBatch, NodeReaders
from dsray_inspect.agent.sampling.observation import (
    NO_INJECT,
    Observation,
    SampleRequest,
    has_threads,
)
from dsray_inspect.agent.sampling.reachability import knock
from dsray_inspect.agent.sampling.session_cache import SessionCache
from dsray_inspect.agent.stacks.unresponsive import explain_silence, gil_keeper, read

HEDGE_S = 0.3
ANSWER_S = 1.8
AGAIN_S = 0.5
PATIENCE_S = 6.0
MOST_HELPERS = 64
PATIENT_S = 0.2
"""How long a rank may wait, within `HEDGE_S`, to see its engine at work when a look must find it."""


class Sampler:
    """Takes looks at runs of one cluster; close it."""

    def __init__(self, gcs: Gcs, calls: ActorCalls) -> None:
        self._gcs = gcs
        self._calls = calls
        self._outside = NodeReaders(calls)
        self._memory = SessionCache()
        self._sessions: dict[str, str] = {}

    def close(self) -> None:
        self._outside.close()

    def look(self, job: JobRow, actors: RunActors | None, ask: SampleRequest) -> Observation:
        """Return one look; takes a second one when the worker group changed meanwhile."""
        started, taken_at = time.monotonic(), time.time()
        answers = self._look_once(job, actors, ask)

        if answers.any_died():
            job, now = self.refresh(job, actors)

            if now is not None and living(now) and living(now) != living(answers.actors):
                answers = self._look_once(job, now, ask)
                answers.notes.append(
                    "The worker group restarted during this look; this is the new one."
                )
            else:
                answers.job, answers.actors = job, now
                answers.notes.append("Ranks ended during this look.")

        answers.taken_at, answers.took_s = taken_at, time.monotonic() - started
        return answers

    def refresh(self, job: JobRow, actors: RunActors | None) -> tuple[JobRow, RunActors | None]:
        """Return job and run as Ray's tables have them now."""
        jobs = {row.job_id: row for row in self._gcs.jobs()}
        runs = find_runs(self._gcs.actors(job.job_id))
        same = [run for run in runs if actors is not None and run.is_same(actors)]
        return jobs.get(job.job_id, job), same[0] if same else actors

    def _helpers(self, job: JobRow) -> list[ActorRow]:
        rows = self._gcs.actors(job.job_id)
        known = {
            row.actor_id for run in find_runs(rows) for row in (run.controller, *run.workers) if row
        }
        return [row for row in rows if row.alive and row.actor_id not in known][:MOST_HELPERS]

    def _session_dirs(self, nodes: list[NodeRow]) -> dict[str, str]:
        if any(node.alive and node.node_id not in self._sessions for node in nodes):
            self._sessions = {node.node_id: "" for node in nodes} | self._gcs.session_dirs()

        return self._sessions

    def _look_once(self, job: JobRow, actors: RunActors | None, ask: SampleRequest) -> Observation:
        answers = Observation(job=job, actors=actors, nodes=self._gcs.nodes(), ask=ask)

        if actors is not None and actors.controller is not None and not living(actors):
            answers.placement_groups = self._gcs.placement_groups(job.job_id)
            answers.available = self._gcs.available()

        if job.is_dead and job.submission_id is not None:
            answers.submission = self._gcs.submission(job.submission_id)

        if actors is not None and ask.counters:
            answers.helpers = self._helpers(job)

        if actors is not None:
            answers.session_dirs = self._session_dirs(answers.nodes)

        if actors is not None and actors.some_ended:
            answers.exits = self._gcs.exits()

        SamplePass(self._calls, self._outside, answers, self._memory).take()
        self._memory.complete_driver(answers)
        return answers


def living(actors: RunActors | None) -> set[tuple[str, int]]:
    """Return node and pid of each living worker."""
    return {(row.node_id, row.pid) for row in actors.workers if row.alive} if actors else set()


class SamplePass:
    """One look while it is taken."""

    def __init__(
        self, calls: ActorCalls, outside: NodeReaders, answers: Observation, memory: SessionCache
    ) -> None:
        self._calls = calls
        self._outside = outside
        self._answers = answers
        self._memory = memory
        self._wave = ExternalReadBatch(outside, answers)
        self._open: dict[str, tuple[ActorRow, Any]] = {}

    def take(self) -> None:
        started = time.monotonic()
        self._send_calls()
        self._first_wave()
        self._collect(HEDGE_S)
        self._wave.take_done()
        self._knock()

        if self._second_wave():
            self._collect(self._answer_s() - (time.monotonic() - started))

        self._wave.take_all()
        self._look_again_at_gils()

        if self._open:
            self._collect(PATIENCE_S - (time.monotonic() - started), could_answer_only=True)

        self._give_up(time.monotonic() - started)

    def _answer_s(self) -> float:
        return AGAIN_S if self._memory.silent.issuperset(self._open) else ANSWER_S

    def _knock(self) -> None:
        """Ask whether the other nodes of silent ranks answer at all, before they are waited for."""
        silent = {row.node_id for row in self._silent() if not self._outside.is_own(row.node_id)}
        places = {
            node.node_id: (node.ip, node.port)
            for node in self._answers.nodes
            if node.node_id in silent and node.alive and node.port
        }
        self._answers.reachable = knock(places)

    def _is_reachable(self, row: ActorRow) -> bool:
        return self._answers.reachable.get(row.node_id, OK) == OK

    def _silent(self) -> list[ActorRow]:
        """Return the actors that gave no stacks so far."""
        return [
            row
            for row in self._rows()
            if not has_threads(
                self._answers.controller
                if self._is_controller(row)
                else self._answers.workers.get(row.actor_id)
            )
        ]

    def _want_kept(self) -> None:
        """Read what is left of workers that have ended, and of a controller that has."""
        actors = self._answers.actors

        if actors is None or not actors.some_ended:
            return

        gone: dict[str, dict[str, int]] = {}

        for row in actors.workers:
            if not row.alive:
                gone.setdefault(row.node_id, {})[row.worker_id] = row.pid

        if actors.controller is not None:
            gone.setdefault(actors.controller.node_id, {})

        for node_id, workers in gone.items():
            self._want_kept_on(node_id, workers)

    def _want_kept_on(self, node_id: str, ended: dict[str, int]) -> None:
        """Read what a node keeps of ended workers (pid by worker id), and of the run if it has it."""
        actors = self._answers.actors
        controller = actors.controller if actors else None
        has_account = controller is not None and controller.node_id == node_id
        self._wave.want_kept(
            node_id,
            {
                "session_dir": self._answers.session_dirs.get(node_id, ""),
                "controller": controller.worker_id if has_account and controller else None,
                "workers": ended,
            },
        )

    def _want_logs(self) -> None:
        """Read the ends of the log files of the ranks that were asked for, ended ones too."""
        actors, ask = self._answers.actors, self._answers.ask
        wanted: dict[str, dict[str, int]] = {}

        for row in actors.workers if actors is not None and ask.log_lines else ():
            if row.worker_id and (ask.only is None or row.actor_id in ask.only):
                wanted.setdefault(row.node_id, {})[row.worker_id] = row.pid

        for node_id, workers in wanted.items():
            self._wave.want_logs(node_id, {"workers": workers, "lines": ask.log_lines})

    def _rows(self) -> Iterator[ActorRow]:
        """Yield the living actors of the run."""
        actors = self._answers.actors

        if actors is not None:
            yield from (row for row in actors.workers if row.alive)

            if actors.controller is not None and actors.controller.alive:
                yield actors.controller

    def _is_controller(self, row: ActorRow) -> bool:
        return self._answers.actors is not None and row is self._answers.actors.controller

    def _send_calls(self) -> None:
        actors, ask = self._answers.actors, self._answers.ask
        adapter = adapter_of(actors.generation) if actors else None
        request = {
            "until": time.time() + PATIENCE_S + 1,
            "max_pause_ms": ask.max_pause_ms,
            "patience_s": PATIENT_S if ask.counters else 0.0,
            "recorder": ask.recorder,
        }

        if adapter is not None and not adapter.controller_parts:
            self._answers.controller = adapter.without_controller

        for row in self._rows():
            if not ask.inject:
                self._keep(row, NO_INJECT)
            elif adapter is not None and self._is_controller(row):
                start = (own_record,) if ask.start else ()
                self._send(row, (*adapter.controller_parts, *start), request)
            else:
                parts = self._memory.parts(row.actor_id, ask)
                env_state = self._memory.env_state(row.actor_id)
                self._send(row, parts, {**request, "environment": env_state})

    def _send(self, row: ActorRow, parts: Sequence[Part], request: dict[str, Any]) -> None:
        try:
            self._open[row.actor_id] = (row, self._calls.send(row, parts, request))
        except CallFailed as failure:
            self._keep(row, str(failure))

    def _keep(self, row: ActorRow, answer: Any) -> None:
        value = str(answer) if isinstance(answer, CallFailed) else answer

        if self._is_controller(row):
            self._answers.controller = value
        elif isinstance(value, dict):
            self._answers.workers[row.actor_id] = self._memory.told(row.actor_id, value)
        else:
            self._answers.workers[row.actor_id] = value

    def _collect(self, timeout_s: float, *, could_answer_only: bool = False) -> None:
        """Take the answers that come within `timeout_s`; a stopped process is not waited for."""
        waited = {
            key: ref
            for key, (row, ref) in self._open.items()
            if not self._is_stopped(row) and not (could_answer_only and self._why_silent(row))
        }

        for actor_id, answer in self._calls.answers(waited, timeout_s).items():
            row, _ = self._open.pop(actor_id)
            self._keep(row, answer)

    def _give_up(self, waited_s: float) -> None:
        for row, _ in self._open.values():
            why = self._why_silent(row) or "busy, or the GIL is held"
            self._keep(row, f"its main thread did not answer in {waited_s:.1f} s: {why}")

        self._memory.silent = frozenset(self._open)

    def _why_silent(self, row: ActorRow) -> str:
        """Return what explains that a process does not answer, as far as it was seen."""
        if self._is_stopped(row):
            return "the process is stopped (state T: SIGSTOP or a debugger)"

        if not self._is_reachable(row):
            return f"its node cannot be reached, {self._answers.reachable[row.node_id]}"

        facts = self._answers.process(row.node_id, row.pid)
        dump, before = facts.get("dump", {}), facts.get("dump_before", {})
        return explain_silence(dump["json"], before.get("json")) if "json" in dump else ""

    def _look_again_at_gils(self) -> None:
        """Dump those once more whose GIL seems to be held; in one look it always is somebody's."""
        for row, _ in self._open.values():
            dump = self._answers.process(row.node_id, row.pid).get("dump", {})

            if "json" in dump and gil_keeper(read(dump["json"]), None) is not None:
                self._wave.want(row.node_id, row.pid, stack=True)

        self._wave.start()
        self._wave.take_all()

    def _is_stopped(self, row: ActorRow) -> bool:
        return self._answers.process(row.node_id, row.pid).get("state") == "stopped"

    def _first_wave(self) -> None:
        """Look at the driver, our own node's processes and the GPUs; at all workers if asked to."""
        job, ask = self._answers.job, self._answers.ask
        nodes = {node.node_id: node for node in self._answers.nodes}

        for row in self._rows():
            has_gpus = row.node_id in nodes and nodes[row.node_id].resources.get("GPU", 0) > 0

            if ask.from_outside and (ask.only is None or row.actor_id in ask.only):
                self._wave.want(row.node_id, row.pid, stack=True, environ=not ask.inject)
            elif has_gpus or self._outside.is_own(row.node_id):
                self._wave.want(row.node_id, row.pid)

            if has_gpus or self._outside.is_own(row.node_id):
                self._wave.want_gpus(row.node_id)

        if not job.is_dead:
            # Of a driver without a run, what it does now is all there is to go by.
            alone = self._answers.actors is None
            stack = alone or self._memory.needs_driver(job.job_id, ask)
            self._wave.want(
                job.driver_node_id,
                job.driver_pid,
                threads=True,
                stack=stack,
                environ=ask.counters and ask.env,
            )

        for row in self._answers.helpers:
            self._wave.want(row.node_id, row.pid, threads=True)

        self._want_kept()
        self._want_logs()
        self._wave.start()

    def _second_wave(self) -> bool:
        """Look at whoever gave no stacks; returns whether there was anybody."""
        silent = [row for row in self._silent() if self._is_reachable(row)]
        actors = self._answers.actors

        for row in silent:
            if self._is_controller(row) and actors is not None and not actors.some_ended:
                self._want_kept_on(row.node_id, {})  # it wrote down the ranks it gave out

        if not self._answers.ask.from_outside:
            for row in silent:
                self._wave.want(row.node_id, row.pid, stack=True, environ=True)

            self._wave.start()

        return bool(silent)
