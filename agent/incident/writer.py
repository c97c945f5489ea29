"""Writes an incident file part by part; under its own name it is there only when it is whole."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.incident.codec import Encoder, to_json
from dsray_inspect.agent.incident.layout import (
    HEADER,
    MAX_FILE_BYTES,
    MAX_PART_BYTES,
    SAMPLE,
    Header,
    PartEntry,
    SamplePart,
)
from dsray_inspect.agent.model import Verdict
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.startup.reader import Read

_UNFINISHED: Final = ".part"
_LEVEL: Final = 6
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""A zip has the local time of where it was written, which tells where that was."""


class IncidentWriter:
    """Writes into a file beside the one that is wanted; use it in a `with` block.

    `finish` gives the file its name. Without it, nothing is left.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_part_bytes: int = MAX_PART_BYTES,
    ) -> None:
        """Begin the file, which only its owner can read.

        Raises:
            UsageError: It exists already, or cannot be written.
        """
        if path.exists():
            raise UsageError(
                f"{path} exists already and is not overwritten.",
                help_text="Give another name with -o.",
            )

        self._path = path
        self._beside = path.with_name(f".{path.name}.{os.getpid()}{_UNFINISHED}")
        self._max_file_bytes = max_file_bytes
        self._max_part_bytes = max_part_bytes
        self._refuses = False
        self._encoder = Encoder()
        self.parts: list[PartEntry] = []
        self.samples = 0

        try:
            self._file = os.fdopen(
                os.open(self._beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b"
            )
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}.") from error

        self._zip = zipfile.ZipFile(self._file, "w")
        self.add(HEADER, header)

    def __enter__(self) -> IncidentWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file.closed:
            return

        with contextlib.suppress(OSError):  # the disk may be full
            self._zip.close()

        with contextlib.suppress(OSError):
            self._file.close()

        self._beside.unlink(missing_ok=True)

    @property
    def is_full(self) -> bool:
        """Whether the file has no room for another sample."""
        return self._refuses or self._file.tell() >= self._max_file_bytes

    def add_sample(self, observation: Observation, start: Read | None, verdict: Verdict) -> bool:
        """Add a sample; returns False where it is too large."""
        encode = self._encoder.encoded
        part = SamplePart(
            observation=encode(observation, Observation),
            start=None if start is None else encode(start, Read),
            verdict=verdict,
        )
        is_added = self.add(SAMPLE.format(self.samples + 1), part, max_bytes=self._max_part_bytes)
        self.samples += is_added
        self._refuses = not is_added  # the samples after it would refer to its parts
        return is_added

    def add(self, name: str, document: msgspec.Struct, *, max_bytes: int = MAX_PART_BYTES) -> bool:
        """Add a part as JSON; returns False where it is too large."""
        text = to_json(document)

        if len(text) > max_bytes:
            return False

        self._zip.writestr(_entry(name), text, compresslevel=_LEVEL)
        self._file.flush()  # what is lost of an interrupted recording is its last part
        self.parts.append(PartEntry(name=name, bytes=len(text)))
        return True

    def finish(self) -> int:
        """Give the file its name; returns its size in bytes."""
        self._zip.close()
        size = self._file.tell()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._beside.replace(self._path)
        return size


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_NO_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    return entry
