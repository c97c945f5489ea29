"""Reads an incident file, and says in one sentence why it cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.history import History
from dsray_inspect.agent.incident.codec import Decoder
from dsray_inspect.agent.incident.layout import (
    DOCTOR,
    FORMAT,
    HEADER,
    HISTORY,
    LOGS,
    MANIFEST,
    MAX_PART_VALUES,
    RECORDERS,
    SAMPLES_BELOW,
    VERSION,
    WHY,
    Header,
    LogsPart,
    Manifest,
    SamplePart,
)
from dsray_inspect.agent.incident.parts import Damaged, NotAZip, Part, parts_of
from dsray_inspect.agent.incident.recorders import RecordersPart
from dsray_inspect.agent.model import Verdict
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.startup.reader import Read

_HOW_TO_RECORD: Final = "dsray-inspect record JOB -o FILE.dsray   writes one."
_HOW_TO_UPGRADE: Final = "pip install --upgrade dsray-inspect"
_HOW_TO_COPY: Final = "Copy it again from where it was written, or record another one."

_T = TypeVar("_T")


class RecordedSample(NamedTuple):
    """One sample as it was recorded, and the verdict that was given then."""

    observation: Observation
    start: Read | None
    verdict: Verdict


class UnknownPart(NamedTuple):
    """A part that this version does not know."""

    name: str


_WHOLE: Final[dict[str, type]] = {
    LOGS: LogsPart,
    HISTORY: History,
    RECORDERS: RecordersPart,
    DOCTOR: Diagnosis,
    MANIFEST: Manifest,
}
"""The parts that are one record each."""
Item = (
    Header
    | RecordedSample
    | LogsPart
    | History
    | RecordersPart
    | Diagnosis
    | Manifest
    | UnknownPart
    | Damaged
)


def read_incident(path: Path) -> Iterator[Item]:
    """Yield what a file holds, its header first. What is damaged ends it; that is the last item.

    Raises:
        UsageError: It is no incident file, or one of a newer format.
    """
    try:
        parts = parts_of(path)
        first = next(parts, None)
        yield _header(path, first)
        decoder = Decoder()

        for part in parts:
            item = part if isinstance(part, Damaged) else _item(part, decoder)

            if item is not None:
                yield item

            if isinstance(item, Damaged):
                return
    except NotAZip as error:
        raise _foreign(path) from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", help_text=_HOW_TO_RECORD
        ) from error


def unreadable(path: Path, damage: Damaged | None) -> UsageError:
    """Return the error for a file that holds no whole sample."""
    if damage is None:
        return UsageError(f"{path} holds no sample.", help_text=_HOW_TO_COPY)

    return UsageError(
        f"{path} is {damage.how} before its first sample ends.", help_text=_HOW_TO_COPY
    )


def _header(path: Path, part: Part | Damaged | None) -> Header:
    if isinstance(part, Damaged) and part.at in ("", HEADER):
        raise unreadable(path, part)

    if not isinstance(part, Part) or part.name != HEADER:
        raise _foreign(path)

    try:
        header = _decoded(part, Header)
    except _UNREADABLE as error:
        raise _foreign(path) from error

    if header.format != FORMAT:
        raise _foreign(path)

    if header.version > VERSION:
        raise UsageError(
            f"{path} has format {header.version}, and this dsray-inspect reads {VERSION}.",
            help_text=_HOW_TO_UPGRADE,
        )

    return header


_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, ValueError)


def _foreign(path: Path) -> UsageError:
    return UsageError(f"{path} is no incident file of dsray-inspect.", help_text=_HOW_TO_RECORD)


def _item(part: Part, decoder: Decoder) -> Item | None:
    """Return what a part holds; None where it is only for programs of others."""
    try:
        if part.name.startswith(SAMPLES_BELOW):
            return _sample(part, decoder)

        if part.name in _WHOLE:
            return _decoded_item(part)
    except _UNREADABLE:
        return Damaged("damaged", part.name)

    return None if part.name == WHY else UnknownPart(part.name)


def _sample(part: Part, decoder: Decoder) -> RecordedSample:
    encoded = _decoded(part, SamplePart)
    start = encoded.start
    return RecordedSample(
        observation=decoder.decoded(encoded.observation, Observation),
        start=None if start is None else decoder.decoded(start, Read),
        verdict=encoded.verdict,
    )


def _decoded_item(part: Part) -> Item:
    found: Item = _decoded(part, _WHOLE[part.name])
    return found


def _decoded(part: Part, kind: type[_T]) -> _T:
    values = sum(part.data.count(mark) for mark in (b",", b"[", b"{"))

    if values > MAX_PART_VALUES:
        raise msgspec.ValidationError("it has more values than a part may have")

    found: Any = msgspec.json.decode(part.data, type=kind)
    return found  # type: ignore[no-any-return]
