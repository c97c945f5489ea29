"""A session whose samples go into an incident file as they are taken."""

from __future__ import annotations

from collections import deque

from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.history import History
from dsray_inspect.agent.incident.layout import LeftOut, VerdictAt
from dsray_inspect.agent.incident.public_chain import PublicChain
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.recorders import RecordersPart
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.text.humanize import count


class RecordingStream:
    """Takes samples and writes each.

    With a publisher, what is written has other names; it is judged with these, so that no name
    of the live verdict comes into the file.
    """

    def __init__(
        self, session: Session, writer: IncidentWriter, publisher: Publisher | None = None
    ) -> None:
        self._session = session
        self._writer = writer
        self._publisher = publisher
        self._public = PublicChain(publisher) if publisher else None
        self._dropped = 0
        self._differing: str | None = None
        self.live: Snapshot | None = None
        """The newest snapshot, as it was taken."""
        self.filed: deque[Snapshot] = deque(maxlen=2)
        """The newest snapshots, as they are in the file."""
        self.verdicts: list[VerdictAt] = []
        self.first_at = 0.0

    @property
    def is_public(self) -> bool:
        return self._publisher is not None

    def refreshed(self, candidate: Candidate) -> Candidate:
        return self._session.refreshed(candidate)

    def snapshot(self, candidate: Candidate, ask: SampleRequest) -> Snapshot:
        """Take one sample and write it, unless the file is full."""
        live = self._session.snapshot(candidate, ask)
        facts = self._session.newest
        assert facts is not None
        observation, start, filed = facts.observation, facts.start, live

        if self._public is not None:
            observation, start, filed = self._public.add(facts)

            if filed.verdict.differs_from(live.verdict):
                self._differing = f"{live.verdict.state}, {live.verdict.cause or 'no cause'}"

        self.live = live

        if self._writer.is_full or not self._writer.add_sample(observation, start, filed.verdict):
            self._dropped += 1
            return live

        self._keep(filed)
        return live

    def _keep(self, filed: Snapshot) -> None:
        self.first_at = self.first_at or filed.taken_at
        self.filed.append(filed)

        if not self.verdicts or self.verdicts[-1].verdict.differs_from(filed.verdict):
            self.verdicts.append(VerdictAt(at=filed.taken_at, verdict=filed.verdict))

    def filed_text(self, said: str) -> str:
        return self._publisher.text(said) if self._publisher else said

    def filed_history(self, past: History) -> History:
        return self._publisher.history(past) if self._publisher else past

    def filed_recorders(self, part: RecordersPart) -> RecordersPart:
        return self._publisher.recorders(part) if self._publisher else part

    def filed_diagnosis(self, found: Diagnosis) -> Diagnosis:
        return self._publisher.diagnosis(found) if self._publisher else found

    def left_out(self) -> list[LeftOut]:
        """Return what did not go into the file for its size, its names or its secrets."""
        found = list(self._publisher.left_out()) if self._publisher else []

        if self._dropped:
            found.append(LeftOut(what=count(self._dropped, "sample"), why="the file was full"))

        if self._differing is not None:
            why = "it rests on names that are replaced"
            found.append(LeftOut(what=f"the live verdict ({self._differing})", why=why))

        return found

    def replaced(self) -> tuple[str, ...]:
        """Return how many names of each kind were replaced."""
        return self._publisher.replaced() if self._publisher else ()
