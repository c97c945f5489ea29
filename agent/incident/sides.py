"""The sides of a `diff`: an incident file at one of its moments, or a live run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.incident.layout import SUFFIX, Header
from dsray_inspect.agent.incident.public_chain import PublicChain
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.reader import read_incident
from dsray_inspect.agent.incident.replay import Replay, replay
from dsray_inspect.agent.model import Record, Snapshot
from dsray_inspect.agent.past import past_of
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import Session
from dsray_inspect.agent.settling import settle

FIRST: Final = "first"
LAST: Final = "last"
_MOMENT: Final = re.compile(r"first|last|\d+(?:\.\d+)?s")
_SLACK_S: Final = 0.5
"""So much later than the last sample a moment may be: its time is shown rounded."""


class Target(Record, frozen=True, kw_only=True):
    """What the user named: a job, or a file, perhaps at a moment."""

    given: str
    path: Path | None = None
    """None for a job."""
    moment: str | None = None


def target_of(given: str) -> Target:
    """Return what a word on the command line means.

    Raises:
        UsageError: It is a file at something that is no moment, or a job at a moment.
    """
    if _is_file(given):
        return Target(given=given, path=Path(given))

    name, at, moment = given.rpartition("@")

    if not at or not (_is_file(name) or _MOMENT.fullmatch(moment)):
        return Target(given=given)

    if not _is_file(name):
        raise UsageError(
            f"{given} names a moment, and {name} is no file.",
            help_text=f"dsray-inspect record {name} -o FILE.dsray   writes one.",
        )

    if not _MOMENT.fullmatch(moment):
        raise UsageError(
            f"{moment} is no moment of {name}.",
            help_text=f"{name}@first, {name}@last, or {name}@2.5s",
        )

    return Target(given=given, path=Path(name), moment=moment)


def _is_file(name: str) -> bool:
    return name.endswith(SUFFIX) or Path(name).is_file()


def is_public(path: Path) -> bool:
    """Return whether names are replaced in a file.

    Raises:
        UsageError: It cannot be read.
    """
    header = next(item for item in read_incident(path) if isinstance(item, Header))
    return header.public


def side_of_file(
    target: Target, path: Path, *, publisher: Publisher | None = None
) -> tuple[Side, Replay]:
    """Return the side of a file, and all that is in it.

    Raises:
        UsageError: The file cannot be read, or ends before the moment.
    """
    found = replay(path, keep=None, start=True, publisher=publisher)
    snapshots = _until(found.snapshots, target)
    names = str(path.resolve()) if found.header.public else ""
    side = Side(
        name=target.given,
        snapshots=snapshots,
        is_file=True,
        is_public=found.header.public and publisher is None,
        pseudonyms=f"of {target.given}" if publisher is not None else names,
        # What is in the recorders was before all moments of a file.
        history=found.history if target.moment is None else None,
        left_out=_left_out(publisher),
    )
    return side, found


def _until(snapshots: tuple[Snapshot, ...], target: Target) -> tuple[Snapshot, ...]:
    """Return the snapshots up to the moment that is meant."""
    if target.moment in (None, LAST):
        return snapshots

    if target.moment == FIRST:
        return snapshots[:1]

    assert target.moment is not None
    began_at, wanted_s = snapshots[0].taken_at, float(target.moment[:-1])
    ends_s = snapshots[-1].taken_at - began_at

    if wanted_s > ends_s + _SLACK_S:
        raise UsageError(
            f"{target.path} has no sample at {wanted_s:g} s: its last one is at {ends_s:.1f} s.",
            help_text=f"{target.path}@last is its last sample.",
        )

    nearest = min(
        range(len(snapshots)),
        key=lambda number: abs(snapshots[number].taken_at - began_at - wanted_s),
    )
    return snapshots[: nearest + 1]


def side_of_job(
    session: Session,
    target: Target,
    request: SampleRequest,
    *,
    publisher: Publisher | None = None,
) -> Side:
    """Return the side of a live run: the samples that `why` would take."""
    candidate = session.find(target.given, inject=request.inject)
    stream = _Samples(session, publisher)
    settle(stream, candidate, request)
    past = past_of(session, candidate, stream.live[-1], request)
    return Side(
        name=target.given,
        snapshots=tuple(stream.kept),
        is_file=False,
        pseudonyms=f"of {target.given}" if publisher is not None else "",
        history=publisher.history(past) if publisher is not None and past is not None else past,
        left_out=_left_out(publisher),
    )


class _Samples:
    """A session whose samples are kept, as they are or with other names."""

    def __init__(self, session: Session, publisher: Publisher | None) -> None:
        self._session = session
        self._public = PublicChain(publisher) if publisher is not None else None
        self.live: list[Snapshot] = []
        self.kept: list[Snapshot] = []

    def refreshed(self, candidate: Candidate) -> Candidate:
        return self._session.refreshed(candidate)

    def snapshot(self, candidate: Candidate, ask: SampleRequest) -> Snapshot:
        live = self._session.snapshot(candidate, ask)
        facts = self._session.newest
        assert facts is not None
        self.live.append(live)
        self.kept.append(live if self._public is None else self._public.add(facts).snapshot)
        return live


def _left_out(publisher: Publisher | None) -> tuple[str, ...]:
    return tuple(left.what for left in publisher.left_out()) if publisher is not None else ()
