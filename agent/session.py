"""One attach: connects, finds the run that is meant, samples it, and leaves no trace."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

import msgspec

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.errors import TargetNotFound
from dsray_inspect.agent.history import MOST_RANKS, History, history_of
from dsray_inspect.agent.launchers.ray.actor_calls import NAMESPACE, ActorCalls, CallFailed
from dsray_inspect.agent.launchers.ray.connect import connect
from dsray_inspect.agent.launchers.ray.gcs import Gcs
from dsray_inspect.agent.launchers.ray.join_check import check_membership
from dsray_inspect.agent.launchers.ray.records import JobRow
from dsray_inspect.agent.launchers.ray.resolve import Candidate, choose, without_driver
from dsray_inspect.agent.launchers.ray.train import adapter_of, find_runs
from dsray_inspect.agent.launchers.ray.versions import check_versions
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.decode import controller_report
from dsray_inspect.agent.sampling.observation import NO_INJECT, Observation, SampleRequest
from dsray_inspect.agent.sampling.rank_report import ControllerReport
from dsray_inspect.agent.sampling.sampler import Sampler
from dsray_inspect.agent.startup.enrich import is_over, trains, with_start
from dsray_inspect.agent.startup.reader import StartReader
from dsray_inspect.agent.startup.spans import joined, start_timeline
from dsray_inspect.agent.text.command_hint import CommandHint
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.agent.tracing import run
from dsray_inspect.agent.tracing.build import timeline
from dsray_inspect.agent.verdict import NO_HINT, judge

NAMING_S = 6.0


class Session:
    """The connection of one command to one cluster; use it in a `with` block."""

    def __init__(self, address: str, hint: CommandHint = NO_HINT) -> None:
        connect(address)
        check_versions(address)
        self._gcs = Gcs(address)
        self._hint = hint
        self._calls: ActorCalls | None = None
        self._known_sampler: Sampler | None = None
        self._starts: StartReader | None = None
        self._last: AnalysisInput | None = None
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

        if self._calls is not None:
            self._calls.close()

    def calls(self) -> ActorCalls:
        """Return the driver connection, made when it is first needed."""
        if self._calls is None:
            check_membership(self._gcs.nodes())
            self._calls = ActorCalls(self.address)

        return self._calls

    def candidates(self, *, inject: bool = True) -> list[Candidate]:
        """Return every job with its runs, named by their controllers where these answer."""
        found: list[Candidate] = []

        for job in self._gcs.jobs():
            if is_our_own(job):
                continue

            runs = find_runs(self._gcs.actors(job.job_id))
            found.extend(Candidate(job=job, actors=run) for run in runs)

            if not runs:
                found.append(Candidate(job=job, actors=None))

        return self.named(found) if inject else found

    def named(self, candidates: list[Candidate]) -> list[Candidate]:
        """Ask the living controllers for run id, name and state."""
        references: dict[str, Any] = {}

        for number, candidate in enumerate(candidates):
            actors = candidate.actors
            controller = actors.controller if actors else None
            parts = adapter_of(actors.generation).controller_parts if actors else ()

            if controller is not None and controller.alive and parts:
                try:
                    references[str(number)] = self.calls().send(
                        controller, parts, {"until": far_future()}
                    )
                except CallFailed:
                    continue

        answers = self.calls().answers(references, NAMING_S) if references else {}
        return [
            with_names(candidate, answers.get(str(number)))
            for number, candidate in enumerate(candidates)
        ]

    def find(self, name: str | None, *, inject: bool = True) -> Candidate:
        """Return the run that `name` means; see `launchers.ray.resolve.choose`.

        Raises:
            TargetNotFound: nothing is called so, or a submission whose driver has not joined Ray.
            AmbiguousTarget: several runs fit.
        """
        try:
            return self._find(name, inject=inject)
        except TargetNotFound:
            submission = self._gcs.submission(name) if name else None

            if submission is None:
                raise

            raise without_driver(str(name), submission) from None

    def _find(self, name: str | None, *, inject: bool) -> Candidate:
        quick = self.candidates(inject=False)
        running = [one for one in quick if one.actors is not None and one.actors.alive]
        by_job = [one for one in quick if name is not None and one.is_called(name)]

        if inject and not (len(by_job) == 1 or (name is None and len(running) == 1)):
            return choose(self.candidates(), name)

        return choose(quick, name)

    def snapshot(
        self, candidate: Candidate, ask: SampleRequest, *, all_threads: bool = False
    ) -> Snapshot:
        """Take one sample and return it judged; with the run's start where that is asked for."""
        begun = ask.start and self.starts().begin(candidate.job, candidate.actors)
        request = msgspec.structs.replace(ask, start=begun)
        observation = self._sampler().sample(candidate.job, candidate.actors, request)
        earlier = self._earlier(observation)
        self._last = assemble(observation, all_threads=all_threads, earlier=earlier)
        snapshot = judge(self._last, self._hint)

        if not ask.start:
            return snapshot

        read = self.starts().finish(observation, trains=trains(snapshot), is_over=is_over(snapshot))
        return with_start(snapshot, read)

    def _sampler(self) -> Sampler:
        """Return what takes samples, made when it is first needed."""
        if self._known_sampler is None:
            self._known_sampler = Sampler(self._gcs, self.calls())

        return self._known_sampler

    def _earlier(self, observation: Observation) -> AnalysisInput | None:
        """Return the last sample if it was of the same run."""
        last = self._last

        if last is None or last.observation.job.job_id != observation.job.job_id:
            return None

        before, now = last.observation.actors, observation.actors
        is_same = before is now or (before is not None and now is not None and before.is_same(now))
        return last if is_same else None

    def start_timeline(self, candidate: Candidate, snapshot: Snapshot) -> Timeline | None:
        """Return the start of a run as spans; `snapshot` must have been asked for its start."""
        read = self.starts().known(candidate.actors) if candidate.actors else None
        return start_timeline(snapshot, read) if read is not None else None

    def starts(self) -> StartReader:
        """Return what reads how runs started, made when it is first needed."""
        if self._starts is None:
            self._starts = StartReader(self._gcs, self.calls())

        return self._starts

    def trace(
        self, candidate: Candidate, snapshot: Snapshot, *, seconds: float | None, ask: SampleRequest
    ) -> tuple[Timeline, bool]:
        """Return the spans of so many seconds from now, or of the past with None.

        Also returns whether it was as long as it was meant to be.
        """
        harvest = run.harvest_of(snapshot)
        actors = candidate.actors.workers if candidate.actors else ()
        rows = {row.actor_id: row for row in actors}
        harvest.ranks = [one for one in harvest.ranks if one.worker.actor_id in rows]
        whole = True

        if seconds is None:
            run.past(self.calls(), rows, harvest, max_pause_ms=ask.max_pause_ms)
        else:
            whole = run.live(
                self.calls(), rows, harvest, seconds=seconds, max_pause_ms=ask.max_pause_ms
            )

        spans = timeline(harvest)
        start = self.start_timeline(candidate, snapshot) if seconds is None else None
        return (joined(spans, start) if start is not None else spans), whole

    def history(self, candidate: Candidate, snapshot: Snapshot, ask: SampleRequest) -> History:
        """Return what the ranks did until now, as far as their flight recorders reach.

        Raises:
            TargetNotFound: no rank lives.
            PermissionMissing: no rank gave any.
        """
        if not ask.inject:
            return History(note=str(NO_INJECT))

        if len(snapshot.workers) > MOST_RANKS:
            return History(
                note=f"the recorders of more than {MOST_RANKS} ranks: dsray-inspect trace --past"
            )

        told, _ = self.trace(candidate, snapshot, seconds=None, ask=ask)
        return history_of(told)

    def refreshed(self, candidate: Candidate) -> Candidate:
        """Return the run as it is now: its job's state and its present worker group."""
        job, actors = self._sampler().refresh(candidate.job, candidate.actors)
        return Candidate(job=job, actors=actors)


def far_future() -> float:
    return time.time() + NAMING_S + 1


def is_our_own(job: JobRow) -> bool:
    """Return whether a driver is a dsray-inspect or a part of Ray itself."""
    return job.namespace == NAMESPACE or job.entrypoint.startswith("ray::")


def with_names(candidate: Candidate, answer: Any) -> Candidate:
    report = controller_report(answer) if isinstance(answer, dict) else None

    if not isinstance(report, ControllerReport):
        return candidate

    return Candidate(
        job=candidate.job,
        actors=candidate.actors,
        run_id=report.run_id,
        run_name=report.run_name,
        state=report.state,
        attempt=report.attempt,
    )
