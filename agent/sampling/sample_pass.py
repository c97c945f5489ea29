"""The order of one sample: ask all actors at once, read from outside those that stay silent.

Calls to the controller and all workers leave together. Once `HEDGE_S` are over and no other answer
has come for `LULL_S`, those that have not answered are also read from outside while their calls
stay pending. That costs far more than an answer, and where many ranks share a CPU, one waits for
another. After `ANSWER_S` a call is given up if what was read explains the silence: the process is
stopped, its GIL is held, its main thread is in a task. A process that should answer, on a loaded
machine, gets `PATIENCE_S`. One that was given up in the last sample is known to be silent:
`AGAIN_S` is enough. Whether a GIL is held shows only in two dumps, so a second is taken of whoever
seems to hold it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dsray_inspect.agent.gc_pause import without_collector
from dsray_inspect.agent.handles import ProcessHandle, TaskHandle
from dsray_inspect.agent.launchers.base import CallFailed, InProcessReads, Part
from dsray_inspect.agent.remote.startup_artifacts import own_record
from dsray_inspect.agent.sampling.decode import controller_report, failed_call, rank_report
from dsray_inspect.agent.sampling.left_behind import (
    want_logs,
    want_post_mortem,
    want_post_mortem_on,
)
from dsray_inspect.agent.sampling.node_readers import ExternalReadBatch, NodeReaders
from dsray_inspect.agent.sampling.observation import NO_INJECT, Observation
from dsray_inspect.agent.sampling.process_probe import StackDump
from dsray_inspect.agent.sampling.producers import producing_processes, wait_for_input
from dsray_inspect.agent.sampling.rank_report import ControllerReport, RankReport
from dsray_inspect.agent.sampling.ranks_at_rest import RanksAtRest
from dsray_inspect.agent.sampling.reachability import knock
from dsray_inspect.agent.sampling.session_cache import SessionCache
from dsray_inspect.agent.stacks.unresponsive import explain_silence, gil_keeper
from dsray_inspect.agent.unavailable import Unavailable

HEDGE_S = 0.3
LULL_S = 0.1
ANSWER_S = 1.8
AGAIN_S = 0.5
PATIENCE_S = 6.0
PATIENT_S = 0.2
"""How long a rank may wait, within `HEDGE_S`, to see its engine at work when it must be found."""


class SamplePass:
    """One sample while it is taken."""

    def __init__(
        self,
        reads: InProcessReads | Unavailable,
        readers: NodeReaders,
        observation: Observation,
        cache: SessionCache,
        running_tasks: Callable[[], list[TaskHandle] | None],
    ) -> None:
        self._reads = reads
        self._readers = readers
        self._observation = observation
        self._cache = cache
        self._running_tasks = running_tasks
        self._batch = ExternalReadBatch(readers, observation)
        self._pending: dict[str, tuple[ProcessHandle, Any]] = {}
        """By actor id: calls without an answer so far."""
        self._at_rest = RanksAtRest(cache.reports, readers, observation)
        self._has_read_producers = False

    def take(self) -> None:
        started = time.monotonic()
        self._send_calls()
        self._read_known_outside()
        self._collect_while_answers_come(started)
        self._batch.take_done()
        self._read_producers()
        self._knock()

        if self._read_silent_outside():
            self._collect(self._answer_s() - (time.monotonic() - started))
            self._read_producers()

        self._batch.take_all()
        self._read_unanswered_outside()

        if self._pending:
            self._collect(PATIENCE_S - (time.monotonic() - started), could_answer_only=True)
            self._read_producers()
            self._batch.take_all()

        self._give_up(time.monotonic() - started)
        self._at_rest.keep(self._living_rows())

    # Calls into actors

    def _send_calls(self) -> None:
        actors, ask = self._observation.actors, self._observation.request
        reads = self._reads
        request = {
            "until": time.time() + PATIENCE_S + 1,
            "max_pause_ms": ask.max_pause_ms,
            "patience_s": PATIENT_S if ask.counters else 0.0,
            "recorder": ask.recorder,
        }

        self._at_rest.find(self._living_rows())

        if isinstance(reads, Unavailable):
            self._keep_all(reads)
            return

        controller_parts = reads.controller_parts(actors) if actors is not None else ()

        if isinstance(controller_parts, Unavailable):
            self._observation.controller = controller_parts

        if not ask.inject:
            self._keep_all(NO_INJECT)
            return

        for row in self._living_rows():
            if row.actor_id in self._at_rest:
                continue

            if self._is_controller(row):
                if not isinstance(controller_parts, Unavailable):
                    start = (own_record,) if ask.start else ()
                    self._send(reads, row, (*controller_parts, *start), request)
            else:
                parts = self._cache.parts(row.actor_id, ask)
                self._send(reads, row, parts, request | self._cache.states(row.actor_id))

    def _keep_all(self, why: Unavailable) -> None:
        for row in self._living_rows():
            self._keep(row, why)

    def _send(
        self,
        reads: InProcessReads,
        row: ProcessHandle,
        parts: Sequence[Part],
        request: dict[str, Any],
    ) -> None:
        try:
            self._pending[row.actor_id] = (row, reads.send(row, parts, request))
        except CallFailed as failure:
            self._keep(row, failed_call(failure))

    def _collect_while_answers_come(self, started: float) -> None:
        """Take answers until all are there, or no other has come for a while."""
        while self._pending:
            pending = len(self._pending)
            self._collect(LULL_S)
            waited_s = time.monotonic() - started

            if waited_s >= HEDGE_S and (len(self._pending) == pending or waited_s >= PATIENCE_S):
                return

    @without_collector
    def _collect(self, timeout_s: float, *, could_answer_only: bool = False) -> None:
        """Take the answers that come within `timeout_s`; a stopped process is not waited for."""
        waited = {
            key: reference
            for key, (row, reference) in self._pending.items()
            if not self._is_stopped(row) and not (could_answer_only and self._why_silent(row))
        }

        if isinstance(self._reads, Unavailable):
            return

        for actor_id, answer in self._reads.answers(waited, timeout_s).items():
            row, _ = self._pending.pop(actor_id)
            self._keep(row, failed_call(answer) if isinstance(answer, CallFailed) else answer)

    def _keep(self, row: ProcessHandle, answer: dict[str, Any] | Unavailable) -> None:
        if self._is_controller(row):
            self._observation.controller = (
                answer
                if isinstance(answer, Unavailable)
                else controller_report(answer, self._observation.stacks)
            )
            return

        report = (
            answer
            if isinstance(answer, Unavailable)
            else rank_report(answer, self._observation.stacks)
        )

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

    def _living_rows(self) -> Iterator[ProcessHandle]:
        """Yield the living actors of the run."""
        actors = self._observation.actors

        if actors is not None:
            yield from (row for row in actors.workers if row.alive)

            if actors.controller is not None and actors.controller.alive:
                yield actors.controller

    def _is_controller(self, row: ProcessHandle) -> bool:
        return self._observation.actors is not None and row is self._observation.actors.controller

    def _silent_rows(self) -> list[ProcessHandle]:
        """Return the actors of which no stacks are known so far."""
        return [
            row
            for row in self._living_rows()
            if row.actor_id not in self._at_rest and not self._gave_stacks(row)
        ]

    def _gave_stacks(self, row: ProcessHandle) -> bool:
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
        self._observation.unreachable = knock(places)
        self._batch.give_up(self._observation.unreachable)

    def _is_reachable(self, row: ProcessHandle) -> bool:
        return row.node_id not in self._observation.unreachable

    def _is_stopped(self, row: ProcessHandle) -> bool:
        return self._observation.process(row.node_id, row.pid).state == "stopped"

    def _why_silent(self, row: ProcessHandle) -> str:
        """Return what explains that a process does not answer, as far as it was seen."""
        if self._is_stopped(row):
            return "the process is stopped (state T: SIGSTOP or a debugger)"

        if not self._is_reachable(row):
            return f"its node cannot be reached, {self._observation.unreachable[row.node_id]}"

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
            is_near = has_gpus or self._readers.is_own(row.node_id)

            if ask.from_outside and (ask.only is None or row.actor_id in ask.only):
                own = ask.inject or self._is_controller(row)
                self._batch.want(
                    row.node_id, row.pid, stack=True, environ=not ask.inject, recorder=not own
                )
            elif is_near and row.actor_id not in self._at_rest:
                self._batch.want(row.node_id, row.pid)

            if is_near or self._at_rest.is_known_outside(row.actor_id):
                self._batch.want_node(row.node_id)

        if job.driver_pid and not job.is_dead:
            # Of a driver without a living run, what it does now is all there is to go by.
            actors = self._observation.actors
            alone = actors is None or not actors.alive
            self._batch.want(
                job.driver_node_id,
                job.driver_pid,
                threads=True,
                stack=alone or self._cache.needs_driver(job.job_id, ask),
                environ=ask.counters and ask.env,
            )

        for row in self._observation.helpers:
            self._batch.want(row.node_id, row.pid, threads=True)

        want_post_mortem(self._batch, self._observation)
        want_logs(self._batch, self._observation)
        self._batch.start()

    def _read_silent_outside(self) -> bool:
        """Read whoever gave no stacks; returns whether there was anybody."""
        silent = [row for row in self._silent_rows() if self._is_reachable(row)]
        actors = self._observation.actors

        for row in silent:
            if self._is_controller(row) and actors is not None and not actors.some_ended:
                want_post_mortem_on(
                    row.node_id, {}, batch=self._batch, observation=self._observation
                )

        if not self._observation.request.from_outside:
            # Nobody waits for an answer of theirs, so all is read at once.
            no_door = isinstance(self._reads, Unavailable)

            if no_door:
                self._batch.have_no_other_way()

            for row in silent:
                self._batch.want(row.node_id, row.pid, stack=True, environ=True, recorder=no_door)

            self._batch.start()

        return bool(silent)

    def _read_producers(self) -> None:
        """Look into the processes that ranks wait for which are no ranks, once it is known."""
        if self._has_read_producers or not wait_for_input(self._observation):
            return

        self._has_read_producers = True

        self._observation.tasks = self._running_tasks()

        for node_id, pid in producing_processes(self._observation):
            self._batch.want(node_id, pid, threads=True, stack=True)

        self._batch.start()

    def _read_unanswered_outside(self) -> None:
        """Read the recorders of ranks without an answer; dump those again whose GIL seems to be held.

        In one dump the GIL always is somebody's.
        """
        for row, _ in self._pending.values():
            stack = self._observation.process(row.node_id, row.pid).stack
            holds_gil = isinstance(stack, StackDump) and gil_keeper(stack.threads, None) is not None
            is_rank = self._is_reachable(row) and not self._is_controller(row)

            if holds_gil or is_rank:
                self._batch.want(row.node_id, row.pid, stack=holds_gil, recorder=is_rank)

        self._batch.start()
        self._batch.take_all()
