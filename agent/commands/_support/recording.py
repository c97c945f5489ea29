"""A live job into an incident file, for `record` and for what is made of such a file at once."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from dsray_inspect.agent.commands._support.exit_code import exit_code_of
from dsray_inspect.agent.commands._support.options import Options
from dsray_inspect.agent.documents import RecordDocument
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.incident.layout import Header
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.recorder import Recorder
from dsray_inspect.agent.incident.stream import RecordingStream
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.session import Session

DEFAULT_S: Final = 5.0
MOST_S: Final = 3600.0


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording that is done, and its file written."""

    document: RecordDocument
    live: Snapshot | None
    """The newest snapshot as it was taken."""
    ended_as: ExitCode
    """How the command ends: as the user or a limit ended the recording."""

    @property
    def exit_code(self) -> ExitCode:
        """How the command ends.

        Raises:
            PermissionMissing: There are ranks, and not one of them could be read.
        """
        if self.live is not None:
            exit_code_of(self.live)

        return self.ended_as


def record(
    job: str | None, path: Path, options: Options, *, seconds: float, public: bool
) -> Recording:
    """Record JOB into a file that does not exist yet.

    Raises:
        InspectError: There is no such job, or not even one sample of it.
    """
    request = options.request(recorder="always", counters=True, start=True)
    tool, began_at = version("dsray-inspect"), time.time()
    publisher = Publisher() if public else None
    hint = options.hint(job)
    words = hint.words if publisher is None else publisher.hint
    header = Header(tool=tool, began_at=began_at, public=public, hint=words)

    # The file first: whether it can be written is known before the cluster is asked.
    with IncidentWriter(path, header) as writer, Session(options.choose_address(), hint) as session:
        candidate = session.find(job, inject=not options.no_inject)
        stream = RecordingStream(session, writer, publisher)
        recorder = Recorder(session, stream, writer, request)
        candidate = recorder.take_samples(candidate, seconds)
        recorder.add_the_rest(candidate, found_by=options.address_source)
        document = recorder.finish(path, tool=tool, began_at=began_at)

    return Recording(document=document, live=stream.live, ended_as=recorder.exit_code)
