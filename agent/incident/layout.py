"""What an incident file is made of: its parts, their records, and how large they may be.

`docs/incident-file.md` describes all of it for programs of others.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dsray_inspect.agent.incident.codec import EncodedRecord
from dsray_inspect.agent.model import Log, Record, Verdict

FORMAT: Final = "dsray-inspect-incident"
VERSION: Final = 1
"""A newer version is one that this one cannot read; parts and keys may be added without one."""
SUFFIX: Final = ".dsray"

HEADER: Final = "dsray.json"
SAMPLE: Final = "samples/{:04}.json"
SAMPLES_BELOW: Final = "samples/"
LOGS: Final = "logs.json"
HISTORY: Final = "history.json"
RECORDERS: Final = "recorders.json"
DOCTOR: Final = "doctor.json"
WHY: Final = "why.json"
MANIFEST: Final = "manifest.json"
PARTS: Final = (HEADER, SAMPLES_BELOW, HISTORY, RECORDERS, LOGS, DOCTOR, WHY, MANIFEST)
"""In the order in which they are in a file."""

MAX_FILE_BYTES: Final = 50 << 20
"""No sample is added to a file of this size."""
MAX_PART_BYTES: Final = 128 << 20
"""No part is larger before it is packed, and none is read that claims to be."""
MAX_PART_VALUES: Final = 12_000_000
"""No part has more values: in memory each takes many times what it takes in a file."""
MAX_PARTS: Final = 10_000


class Header(Record, frozen=True, kw_only=True):
    """The first part, by which a file is known even if it is cut off."""

    format: str = FORMAT
    version: int = VERSION
    tool: str
    """The version of dsray-inspect that wrote it."""
    began_at: float
    public: bool
    """Whether names are replaced and only listed facts are in it."""
    hint: tuple[str, ...] = ()
    """How the job is named in commands that are suggested."""


class SamplePart(Record, frozen=True, kw_only=True):
    """One sample: an `Observation`, what was read of the run's start, and the verdict given."""

    observation: EncodedRecord
    start: EncodedRecord | None = None
    verdict: Verdict


class LogsPart(Record, frozen=True, kw_only=True):
    """The ends of the ranks' log files, by actor id."""

    logs: dict[str, Log] = msgspec.field(default_factory=dict)


class PartEntry(Record, frozen=True, kw_only=True):
    """One part of the file."""

    name: str
    bytes: int
    """Before it is packed."""


class LeftOut(Record, frozen=True, kw_only=True):
    """Something that is not in the file, and why."""

    what: str
    why: str


NOT_PUBLIC: Final = (LeftOut(what="log files and command lines", why="they can hold anything"),)
"""What no public file has."""


class VerdictAt(Record, frozen=True, kw_only=True):
    """A verdict when it was first given."""

    at: float
    verdict: Verdict


class Versions(Record, frozen=True, kw_only=True):
    """A package, and the ranks' versions of it: one, where all is well."""

    package: str
    versions: tuple[str, ...]


class Manifest(Record, frozen=True, kw_only=True):
    """The last part: what is in the file, what is not, and what was hidden in it."""

    format: str = FORMAT
    version: int = VERSION
    tool: str
    public: bool
    began_at: float
    ended_at: float
    job: str
    ranks: int
    nodes: int
    samples: int
    verdicts: tuple[VerdictAt, ...]
    """As they were given, one per change; judging the samples again gives the same."""
    versions: tuple[Versions, ...]
    parts: tuple[PartEntry, ...]
    left_out: tuple[LeftOut, ...]
    redacted: tuple[str, ...]
    """The names whose values were hidden because they are secret."""
    replaced: tuple[str, ...] = ()
    """How many names of each kind have a pseudonym."""
