"""One attach: connects, finds the run that is meant, samples it, and leaves no trace."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType

import msgspec

from dsray_inspect.agent.detectors.evidence.progress import needs_counters, needs_recorders
from dsray_inspect.agent.doctor.probe import diagnose_with
from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.errors import PermissionMissing
from dsray_inspect.agent.handles import Candidate, ProcessHandle, RunHandle
from dsray_inspect.agent.history import MAX_RANKS, History, history_of
from dsray_inspect.agent.launchers.base import InProcessReads
from dsray_inspect.agent.launchers.registry import open_launcher
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sample_chain import SampleChain
from dsray_inspect.agent.sampling.observation import NO_INJECT, Observation, SampleRequest
from dsray_inspect.agent.sampling.sampler import Sampler
from dsray_inspect.agent.startup.enrich import is_over, trains, with_start
from dsray_inspect.agent.startup.reader import Read, StartReader
from dsray_inspect.agent.startup.spans import joined, start_timeline
from dsray_inspect.agent.text.command_hint import CommandHint
from dsray_inspect.agent.text.runs import choice_note
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.agent.tracing import run
from dsray_inspect.agent.tracing.build import timeline
from dsray_inspect.agent.tracing.capture import TraceCapture
from dsray_inspect.agent.unavailable import Unavailable
from dsray_inspect.agent.verdict import NO_HINT


class SampleFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest snapshot of a session was made from."""

    observation: Observation
    start: Read | None
    """What was read of the run's start; None where nobody asked."""


class Session:
    """The connection of one command to one cluster; use it in a `with` block."""

    def __init__(self, address: str, hint: CommandHint = NO_HINT) -> None:
        self._launcher = open_launcher(address)
        self._known_sampler: Sampler | None = None
        self._starts: StartReader | None = None
        self._chain = SampleChain(hint)
        self.newest: SampleFacts | None = None
        self.address = address

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._known_sampler is not None:
            self._known_sampler.close()

        if self._starts is not None:
            self._starts.close()

        self._launcher.close()

    def candidates(self, *, inject: bool = True) -> list[Candidate]:
        """Return every job with its runs, named by their controllers where these answer."""
        return self._launcher.runs(inject=inject)

    def find(self, name: str | None, *, inject: bool = True) -> Candidate:
        """Return the run that `name` means, or the only running one.

        Raises:
            TargetNotFound: nothing is called so.
            AmbiguousTarget: several runs fit.
        """
        return self._launcher.find(name, inject=inject)

    def snapshot(
        self, candidate: Candidate, ask: SampleRequest, *, all_threads: bool = False
    ) -> Snapshot:
        """Take one sample and return it judged; with the run's start where that is asked for."""
        begun = ask.start and self.starts().begin(candidate.job, candidate.actors)
        request = msgspec.structs.replace(self._as_needed(ask), start=begun)
        observation = self._sampler().sample(candidate.job, candidate.actors, request)
        choice = choice_note(candidate)
        observation.notes += [choice] if choice else []
        snapshot = self._chain.add(observation, all_threads=all_threads)
        read: Read | None = None

        if ask.start:
            is_trained, is_done = trains(snapshot), is_over(snapshot)
            read = self.starts().finish(observation, trains=is_trained, is_over=is_done)

        self.newest = SampleFacts(observation=observation, start=read)
        return with_start(snapshot, read)

    def _as_needed(self, ask: SampleRequest) -> SampleRequest:
        """Return the request, for all that a verdict needs where the last sample left it open."""
        if not (ask.deepspeed and ask.env):
            return ask  # its snapshot is not shown as a verdict

        return msgspec.structs.replace(
            ask,
            counters=ask.counters or needs_counters(self._chain.last),
            recorder="always" if needs_recorders(self._chain.last, time.time()) else ask.recorder,
        )

    def _sampler(self) -> Sampler:
        """Return what takes samples, made when it is first needed."""
        if self._known_sampler is None:
            self._known_sampler = Sampler(self._launcher)

        return self._known_sampler

    def start_timeline(self, candidate: Candidate, snapshot: Snapshot) -> Timeline | None:
        """Return the start of a run as spans; `snapshot` must have been asked for its start."""
        read = self.starts().known(candidate.actors) if candidate.actors else None
        return start_timeline(snapshot, read) if read is not None else None

    def starts(self) -> StartReader:
        """Return what reads how runs started, made when it is first needed."""
        if self._starts is None:
            self._starts = StartReader(self._launcher)

        return self._starts

    def trace(
        self, candidate: Candidate, snapshot: Snapshot, *, seconds: float | None, ask: SampleRequest
    ) -> tuple[Timeline, bool]:
        """Return the spans of so many seconds from now, or of the past with None.

        Also returns whether it was as long as it was meant to be.

        Raises:
            PermissionMissing: no rank could be traced.
        """
        if seconds is None:
            spans = timeline(self.past(candidate, snapshot, ask))
            start = self.start_timeline(candidate, snapshot)
            return (joined(spans, start) if start is not None else spans), True

        capture, rows = _new_capture(candidate, snapshot)
        whole = run.trace_live(
            self.reads(candidate.actors),
            self._launcher.node_readers(),
            rows,
            capture,
            seconds=seconds,
            max_pause_ms=ask.max_pause_ms,
        )
        return timeline(capture), whole

    def past(self, candidate: Candidate, snapshot: Snapshot, ask: SampleRequest) -> TraceCapture:
        """Return what the flight recorders of all ranks hold.

        Raises:
            TargetNotFound: no rank lives.
            PermissionMissing: none could be read.
        """
        capture, rows = _new_capture(candidate, snapshot)
        reads = self.reads(candidate.actors)
        run.read_past(reads, rows, capture, max_pause_ms=ask.max_pause_ms)
        return capture

    def diagnosis(
        self, snapshot: Snapshot, *, found_by: str, inject: bool, most_nodes: int, limit_s: float
    ) -> Diagnosis | Unavailable:
        """Return what the doctor says of the nodes of a run, those with its ranks first."""
        preflight = self._launcher.preflight()

        if isinstance(preflight, Unavailable):
            return preflight

        used = {worker.node_id for worker in snapshot.workers}

        with contextlib.closing(preflight):
            rows = sorted(preflight.nodes(), key=lambda row: row.node_id not in used)
            return diagnose_with(
                preflight,
                rows[:most_nodes],
                address=self.address,
                found_by=found_by,
                inject=inject,
                limit_s=limit_s,
            )

    def reads(self, actors: RunHandle | None = None) -> InProcessReads:
        """Return what reads inside the ranks.

        Raises:
            PermissionMissing: this launcher has no way in.
        """
        reads = self._launcher.in_process(actors)

        if isinstance(reads, Unavailable):
            raise PermissionMissing(f"No rank can be traced: {reads}.")

        return reads

    def history(self, candidate: Candidate, snapshot: Snapshot, ask: SampleRequest) -> History:
        """Return what the ranks did until now, as far as their flight recorders reach.

        Raises:
            TargetNotFound: no rank lives.
            PermissionMissing: no rank gave any.
        """
        if not ask.inject:
            return History(note=str(NO_INJECT))

        if len(snapshot.workers) > MAX_RANKS:
            return History(
                note=f"the recorders of more than {MAX_RANKS} ranks: dsray-inspect trace --past"
            )

        told, _ = self.trace(candidate, snapshot, seconds=None, ask=ask)
        return history_of(told)

    def helpers(self, candidate: Candidate) -> list[ProcessHandle]:
        """Return the living processes of a job that belong to no run of it."""
        return self._launcher.layout(candidate.job, candidate.actors, helpers=True).helpers

    def refreshed(self, candidate: Candidate) -> Candidate:
        """Return the run as it is now: its job's state and its present worker group."""
        job, actors = self._launcher.refresh(candidate.job, candidate.actors)
        return msgspec.structs.replace(candidate, job=job, actors=actors)


def _new_capture(
    candidate: Candidate, snapshot: Snapshot
) -> tuple[TraceCapture, dict[str, ProcessHandle]]:
    """Return an empty capture of the ranks that can be called, and their handles."""
    capture = run.new_capture(snapshot)
    actors = candidate.actors.workers if candidate.actors else ()
    rows = {row.actor_id: row for row in actors}
    capture.ranks = [rank for rank in capture.ranks if rank.worker.actor_id in rows]
    return capture, rows
