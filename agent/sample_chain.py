"""The samples of one session in their order, each judged with what the ones before it showed."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.text.command_hint import CommandHint
from dsray_inspect.agent.verdict import NO_HINT, judge


class SampleChain:
    """Judges one observation after another, live or as they were recorded."""

    def __init__(self, hint: CommandHint = NO_HINT) -> None:
        self._hint = hint
        self.last: AnalysisInput | None = None
        """The newest sample."""

    def add(self, observation: Observation, *, all_threads: bool = False) -> Snapshot:
        """Return the snapshot of the next observation."""
        earlier = self._earlier(observation)
        self.last = assemble(observation, all_threads=all_threads, earlier=earlier)
        return judge(self.last, self._hint)

    def _earlier(self, observation: Observation) -> AnalysisInput | None:
        """Return the last sample if it was of the same run."""
        last = self.last

        if last is None or last.observation.job.job_id != observation.job.job_id:
            return None

        before, now = last.observation.actors, observation.actors
        is_same = before is now or (before is not None and now is not None and before.is_same(now))
        return last if is_same else None
