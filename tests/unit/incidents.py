"""Incident files of runs that never existed: what the tests of them share."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from dsray_inspect.agent.cli import group
from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.history import History
from dsray_inspect.agent.incident.layout import (
    DOCTOR,
    HISTORY,
    LOGS,
    MANIFEST,
    RECORDERS,
    WHY,
    Header,
    LogsPart,
    Manifest,
    VerdictAt,
)
from dsray_inspect.agent.incident.recorders import part_of
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.model import Log, LogFile, Snapshot
from dsray_inspect.agent.sample_chain import SampleChain
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.tracing.capture import TraceCapture
from dsray_inspect.agent.tracing.collectives import Entry
from dsray_inspect.agent.tracing.run import new_capture
from tests.unit.node_checks import denied, diagnosis, node
from tests.unit.samples import IN_USER, sample_of, stands, waits

TOOL = "0.1.0"
LINES = tuple(f"line {number}" for number in range(1, 31))
PAST = History(note="nothing is recorded")
HEADER_ONLY = Header(tool=TOOL, began_at=1.0, public=False)


def hung(taken_at: float) -> Observation:
    """Return a sample of a run that rank 1 holds up."""
    observation = sample_of(waits(0), stands(1, IN_USER), waits(2)).observation
    observation.taken_at = taken_at
    return observation


def two_samples() -> tuple[Observation, Observation]:
    return hung(100.0), hung(101.0)


def log() -> Log:
    file = LogFile(stream="stdout", path="/logs/w1.out", age_s=3.0, lines=LINES, is_whole=True)
    return Log(hostname="h", files=(file,))


def capture_of(snapshot: Snapshot) -> TraceCapture:
    """Return recorders with ten steps of two collectives, and one that rank 1 never entered."""
    capture = new_capture(snapshot)
    capture.until_ns = round((snapshot.taken_at + 1) * 1e9)

    for number, rank in enumerate(capture.ranks):
        members = tuple(range(len(capture.ranks)))
        rank.group_ranks = {"1": members}
        rank.no_recording = None
        rank.kept = list(_entries(number, last=20 if number == 1 else 21))

    return capture


def _entries(rank: int, *, last: int) -> Iterator[Entry]:
    for number in range(last):
        operation = "all_gather" if number % 2 else "all_reduce"
        yield Entry(
            id=number,
            group="1",
            sequence=number,
            operation=operation,
            system="gloo",
            sizes=((128,),) if number % 2 else ((), (64, 2)),
            dtype="float",
            start_ns=50_000_000_000 + number * 100_000_000 + (number % 2) * 7_000_000 + rank,
            is_over=number < 20,
            completed_ns=None,
            duration_ns=5_000_000 if number == 3 else None,
            is_p2p=False,
        )


def checked() -> Diagnosis:
    """Return what `doctor` says of a node whose processes Yama hides."""
    return diagnosis(node(denied(yama=1)))


def write(path: Path, observations: Sequence[Observation]) -> list[Snapshot]:
    """Write a file of these samples; returns how they were judged when they were taken."""
    chain = SampleChain()
    given = [chain.add(observation) for observation in observations]

    with IncidentWriter(path, Header(tool=TOOL, began_at=100.0, public=False)) as writer:
        for observation, snapshot in zip(observations, given, strict=True):
            writer.add_sample(observation, None, snapshot.verdict)

        writer.add(HISTORY, PAST)
        writer.add(RECORDERS, part_of(capture_of(given[-1])))
        writer.add(DOCTOR, checked())
        writer.add(LOGS, LogsPart(logs={"a1": log()}))
        writer.add(WHY, explain(tuple(given[-2:])))
        writer.add(MANIFEST, manifest(writer, given))
        writer.finish()

    return given


def manifest(writer: IncidentWriter, given: Sequence[Snapshot]) -> Manifest:
    return Manifest(
        tool=TOOL,
        public=False,
        began_at=100.0,
        ended_at=102.0,
        job="j1",
        ranks=3,
        nodes=1,
        samples=writer.samples,
        verdicts=tuple(
            VerdictAt(at=snapshot.taken_at, verdict=snapshot.verdict) for snapshot in given
        ),
        versions=(),
        parts=tuple(writer.parts),
        left_out=(),
        redacted=(),
    )


def all_bytes(path: Path) -> bytes:
    """Return what is in a file once it is unpacked, the names of its parts included."""
    with zipfile.ZipFile(path) as file:
        return b"\n".join(
            part for name in file.namelist() for part in (name.encode(), file.read(name))
        )


def run(*args: str) -> ExitCode:
    code: ExitCode = group.main(args, standalone_mode=False)
    return code
