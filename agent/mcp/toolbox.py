"""Answers tool calls: finds the sample that is meant, and lets the tool's module tell of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from dsray_inspect.agent.errors import InspectError, UsageError
from dsray_inspect.agent.incident.replay import with_logs
from dsray_inspect.agent.mcp import arguments as asked
from dsray_inspect.agent.mcp import documents, ids, notes
from dsray_inspect.agent.mcp.answers.env import env_answer
from dsray_inspect.agent.mcp.answers.evidence import evidence_answer
from dsray_inspect.agent.mcp.answers.history import history_answer
from dsray_inspect.agent.mcp.answers.jobs import ClusterState, jobs_answer, open_answer
from dsray_inspect.agent.mcp.answers.ranks import ranks_answer
from dsray_inspect.agent.mcp.answers.stacks import stacks_answer
from dsray_inspect.agent.mcp.answers.why import why_answer
from dsray_inspect.agent.mcp.calls import ToolCall, ToolReply
from dsray_inspect.agent.mcp.errors import bug_reply, error_reply
from dsray_inspect.agent.mcp.incident_files import IncidentFiles
from dsray_inspect.agent.mcp.incidents import OpenedIncidents
from dsray_inspect.agent.mcp.job_text import LINE, clean
from dsray_inspect.agent.mcp.live import LiveJobs
from dsray_inspect.agent.mcp.sample import Sample, utc
from dsray_inspect.agent.mcp.tools import SPECS
from dsray_inspect.agent.run_rows import is_running, row_of

_MOST_WITH_LOCALS: Final = 4
_Which: TypeAlias = (
    asked.WhyArguments
    | asked.RanksArguments
    | asked.StacksArguments
    | asked.EnvDiffArguments
    | asked.HistoryArguments
)


class Toolbox:
    """Answers one call at a time.

    Args:
        live: The jobs of the cluster.
        files: The incident files that may be opened.
        allows_locals: Whether local variables of a live job may be read.
        clock: The time of day.
    """

    def __init__(
        self,
        live: LiveJobs,
        files: IncidentFiles,
        *,
        allows_locals: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._live = live
        self._files = files
        self._incidents = OpenedIncidents(files)
        self._allows_locals = allows_locals
        self._clock = clock
        self._tools: dict[str, Callable[[Any, int], msgspec.Struct]] = {
            "list_jobs": self._list_jobs,
            "why": self._why,
            "ranks": self._ranks,
            "stacks": self._stacks,
            "env_diff": self._env_diff,
            "history": self._history,
            "open_incident": self._open_incident,
            "evidence": self._evidence,
        }

    def answer(self, call: ToolCall) -> ToolReply:
        """Return what a tool answers, or why it cannot."""
        try:
            spec = SPECS.get(call.tool)

            if spec is None:
                raise UsageError(f"There is no tool {call.tool}.")

            given = msgspec.json.decode(call.arguments, type=spec.arguments)
            document = self._tools[spec.name](given, spec.tokens)
            return ToolReply(document=msgspec.Raw(msgspec.json.encode(document)))
        except msgspec.MsgspecError as error:
            return error_reply(UsageError(f"{call.tool} does not take this: {error}."))
        except InspectError as error:
            return error_reply(error)
        except Exception as error:
            self._live.close()
            return bug_reply(error)

    def rest(self) -> None:
        """Leave the cluster until the next call."""
        self._live.close()

    def _sample(self, given: _Which) -> Sample:
        """Return the sample that a call is about.

        Raises:
            UsageError: It names more than one.
        """
        named = [value for value in (given.job, given.incident, given.sample) if value]

        if len(named) > 1:
            raise UsageError(
                "job, incident and sample exclude one another.", help_text="Give one of them."
            )

        if given.sample:
            return self._known(ids.parse(given.sample).sample)

        return (
            self._incidents.newest(given.incident)
            if given.incident
            else self._live.newest(given.job)
        )

    def _known(self, id: str) -> Sample:
        return self._incidents.sample(id) if id.startswith("i") else self._live.sample(id)

    def _list_jobs(self, given: asked.ListJobsArguments, tokens: int) -> documents.JobsAnswer:
        files = [
            notes.IncidentNote(
                bytes=file.bytes,
                written_at=utc(file.written_at),
                handle=self._incidents.handle_of(file.name),
                untrusted=notes.PathText(path=clean(file.name, LINE)),
            )
            for file in self._files.found()
        ]
        cluster: ClusterState = "answers"
        problem = ""

        try:
            candidates = self._live.runs()
        except InspectError as error:
            if not self._files.are_any:
                raise

            candidates, cluster, problem = [], "unreachable", f"{error} {error.help_text}".strip()

        runs = [
            row_of(candidate) for candidate in candidates if given.ended or is_running(candidate)
        ]
        return jobs_answer(runs, files, tokens, cluster=cluster, problem=problem)

    def _why(self, given: asked.WhyArguments, tokens: int) -> documents.WhyAnswer:
        return why_answer(self._sample(given), tokens, self._clock())

    def _ranks(self, given: asked.RanksArguments, tokens: int) -> documents.RanksAnswer:
        sample = self._sample(given)
        _check_ranks(sample, given.ranks)
        return ranks_answer(sample, tokens, self._clock(), ranks=given.ranks)

    def _stacks(self, given: asked.StacksArguments, tokens: int) -> documents.StacksAnswer:
        if (given.locals or given.log_lines) and not given.ranks:
            raise UsageError(
                "locals and log_lines need ranks.", help_text="Give ranks, such as [1]."
            )

        sample = self._sample(given)
        _check_ranks(sample, given.ranks)

        if sample.is_from_file and given.log_lines:
            logged = with_logs(sample.snapshot, sample.logs, given.log_lines)
            told = msgspec.structs.replace(sample.explanation, snapshot=logged)
            sample = msgspec.structs.replace(sample, explanation=told)
        elif not sample.is_from_file and (given.locals or given.log_lines):
            self._check_locals(given)
            sample = self._live.details(
                sample.id, given.ranks, with_locals=given.locals, log_lines=given.log_lines
            )

        return stacks_answer(
            sample, tokens, self._clock(), ranks=given.ranks, with_locals=given.locals
        )

    def _check_locals(self, given: asked.StacksArguments) -> None:
        if given.locals and not self._allows_locals:
            raise UsageError(
                "Local variables of live jobs are off: reading them pauses ranks.",
                help_text="The user can start the server with dsray-inspect mcp --locals.",
            )

        if given.locals and len(given.ranks) > _MOST_WITH_LOCALS:
            raise UsageError(
                f"Local variables are read of at most {_MOST_WITH_LOCALS} ranks in a call.",
                help_text="Give fewer ranks.",
            )

    def _env_diff(self, given: asked.EnvDiffArguments, tokens: int) -> documents.EnvDiffAnswer:
        return env_answer(self._sample(given), tokens, self._clock(), name=given.name)

    def _history(self, given: asked.HistoryArguments, tokens: int) -> documents.HistoryAnswer:
        sample = self._sample(given)

        if sample.is_from_file:
            handle = sample.incident
            past = self._incidents.replay_of(handle).history
            changes, samples = self._incidents.changes(handle)
        else:
            past = self._live.past(sample.id)
            changes, samples = self._live.changes(sample)

        now = self._clock()
        return history_answer(sample, tokens, now, past=past, changes=changes, samples=samples)

    def _open_incident(
        self, given: asked.OpenIncidentArguments, tokens: int
    ) -> documents.OpenAnswer:
        sample, opened = self._incidents.open(given.path)
        return open_answer(sample, opened, tokens, self._clock())

    def _evidence(self, given: asked.EvidenceArguments, tokens: int) -> documents.EvidenceAnswer:
        part = ids.parse(given.id)
        sample = self._known(part.sample)
        return evidence_answer(sample, part, tokens, self._clock(), skip=given.skip)


def _check_ranks(sample: Sample, ranks: tuple[int, ...]) -> None:
    present = {worker.rank for worker in sample.snapshot.workers}
    missing = [rank for rank in ranks if rank not in present]

    if missing:
        known = sorted(rank for rank in present if rank is not None)
        span = f"{known[0]} to {known[-1]}" if known else "none"
        raise UsageError(
            f"There is no rank {missing[0]} in this run (ranks: {span}).",
            help_text="ranks lists them.",
        )
