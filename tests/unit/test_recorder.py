"""`record` from a session that never was: what it writes, and how it ends."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from dsray_inspect.agent.cli import group
from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.documents import RecordDocument
from dsray_inspect.agent.errors import ClusterUnreachable, ExitCode, PermissionMissing, UsageError
from dsray_inspect.agent.incident.layout import (
    DOCTOR,
    HISTORY,
    LOGS,
    MANIFEST,
    RECORDERS,
    WHY,
    Header,
)
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.recorder import Recorder
from dsray_inspect.agent.incident.replay import replay
from dsray_inspect.agent.incident.stream import RecordingStream
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.interrupts import LimitPassed
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sample_chain import SampleChain
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import SampleFacts, Session
from dsray_inspect.agent.tracing.capture import TraceCapture
from tests.unit.incidents import TOOL, capture_of, checked, hung, log

REQUEST = SampleRequest(max_pause_ms=100)
PER_SAMPLE_S = 0.1


class Job:
    """A session on a run that hangs.

    `at` says what happens at a sample, by its number, `fails` in what comes after them.
    """

    def __init__(
        self,
        clock: list[float],
        at: dict[int, BaseException],
        fails: dict[str, BaseException] | None = None,
    ) -> None:
        self._fails = fails or {}
        self._clock = clock
        self._at = at
        self._chain = SampleChain()
        self.newest: SampleFacts | None = None
        self.taken = 0

    def refreshed(self, candidate: Any) -> Any:
        return candidate

    def snapshot(self, _candidate: Any, ask: SampleRequest) -> Snapshot:
        if ask.log_lines:
            return self._with_logs()

        self.taken += 1
        self._clock[0] += PER_SAMPLE_S

        if self.taken in self._at:
            raise self._at[self.taken]

        observation = hung(self._clock[0])
        self.newest = SampleFacts(observation=observation, start=None)
        return self._chain.add(observation)

    def _with_logs(self) -> Snapshot:
        snapshot = self._chain.add(hung(self._clock[0]))
        workers = tuple(msgspec.structs.replace(worker, log=log()) for worker in snapshot.workers)
        return msgspec.structs.replace(snapshot, workers=workers)

    def past(self, *_: Any) -> TraceCapture:
        if "past" in self._fails:
            raise self._fails["past"]

        assert self._chain.last is not None
        return capture_of(self._chain.last.snapshot)

    def diagnosis(self, *_: Any, **__: Any) -> Diagnosis:
        if "diagnosis" in self._fails:
            raise self._fails["diagnosis"]

        return checked()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


@pytest.fixture
def record(clock: list[float], tmp_path: Path) -> Callable[..., tuple[RecordDocument, Recorder]]:
    def run(
        *,
        at: dict[int, BaseException] | None = None,
        fails: dict[str, BaseException] | None = None,
        publisher: Publisher | None = None,
        seconds: float = 5.0,
        **limits: int,
    ) -> tuple[RecordDocument, Recorder]:
        session, path = cast("Session", Job(clock, at or {}, fails)), tmp_path / "x.dsray"
        header = Header(tool=TOOL, began_at=100.0, public=publisher is not None)

        with IncidentWriter(path, header, **limits) as writer:
            stream = RecordingStream(session, writer, publisher)
            recorder = Recorder(session, stream, writer, REQUEST)
            candidate = recorder.take_samples(cast("Any", None), seconds)
            recorder.add_the_rest(candidate, found_by="--address")
            return recorder.finish(path, tool=TOOL, began_at=100.0), recorder

    return run


def manifest_of(document: RecordDocument) -> dict[str, Any]:
    with zipfile.ZipFile(document.file) as archive:
        found: dict[str, Any] = json.loads(archive.read(MANIFEST))
        return found


def test_samples_are_taken_for_so_long(record: Any) -> None:
    document, recorder = record(seconds=5.0)
    assert (document.samples, document.ended_early) == (8, None)
    assert 4.0 < document.seconds < 5.0
    assert recorder.exit_code == ExitCode.OK
    assert document.bytes == Path(document.file).stat().st_size
    assert manifest_of(document)["samples"] == 8


def test_at_least_as_long_as_a_verdict_takes(record: Any) -> None:
    document, _ = record(seconds=0.0)
    assert document.samples == 3
    assert document.verdict.cause == "rank_blocked_in_user_code"


def test_verdicts_are_kept_as_they_changed(record: Any) -> None:
    document, _ = record()
    causes = [change["verdict"]["cause"] for change in manifest_of(document)["verdicts"]]
    assert causes == ["straggler", "rank_blocked_in_user_code"]
    assert replay(Path(document.file)).last.verdict == document.verdict


def test_logs_are_in_it_and_not_in_a_public_one(record: Any) -> None:
    document, _ = record()
    assert LOGS in {part["name"] for part in manifest_of(document)["parts"]}
    Path(document.file).unlink()
    public, _ = record(publisher=Publisher())
    assert LOGS not in {part["name"] for part in manifest_of(public)["parts"]}
    assert "log files and command lines: they can hold anything" in public.left_out
    assert public.replaced != ()
    assert public.job == "job-1"


@pytest.mark.parametrize(
    ("error", "why", "code"),
    [
        (KeyboardInterrupt(), "it was interrupted", ExitCode.INTERRUPTED),
        (LimitPassed(), "its time limit passed", ExitCode.TIMEOUT),
        (ClusterUnreachable("10.9.8.7 is gone."), "10.9.8.7 is gone.", ExitCode.OK),
    ],
)
def test_what_was_recorded_before_the_end_is_kept(
    record: Any, error: BaseException, why: str, code: ExitCode
) -> None:
    document, recorder = record(at={4: error})
    assert (document.samples, document.ended_early) == (3, why)
    assert recorder.exit_code == code
    assert {"what": "later samples", "why": why} in manifest_of(document)["left_out"]
    assert replay(Path(document.file)).explanation().culprits[0].rank == 1


def test_why_it_ended_has_pseudonyms_too(record: Any) -> None:
    document, _ = record(at={4: ClusterUnreachable("10.9.8.7 is gone.")}, publisher=Publisher())
    assert document.ended_early == "198.18.0.2 is gone."


def test_a_run_that_cannot_be_read_at_all_leaves_no_file(record: Any, tmp_path: Path) -> None:
    with pytest.raises(ClusterUnreachable):
        record(at={1: ClusterUnreachable("gone")})

    assert list(tmp_path.iterdir()) == []


def test_a_full_file_says_what_it_has_no_room_for(record: Any) -> None:
    document, _ = record(max_file_bytes=1000)
    assert document.samples == 1
    assert "2 samples: the file was full" in document.left_out


def test_a_run_whose_sample_is_too_large_is_told(record: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too large for an incident file"):
        record(max_part_bytes=1000)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"), [("x.zip", r"called something.dsray, not x\.zip"), ("gone/x", "gone/x")]
)
def test_the_file_is_named_before_any_cluster_is_asked(
    tmp_path: Path, name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")

    with pytest.raises(UsageError, match=message):
        group.main(["record", "-o", str(tmp_path / name)], standalone_mode=False)


# After the samples


def test_recorders_and_checks_of_the_nodes_are_in_it(record: Any) -> None:
    document, _ = record()
    parts = [part["name"] for part in manifest_of(document)["parts"]]
    assert parts[-5:] == [HISTORY, RECORDERS, LOGS, DOCTOR, WHY]
    found = replay(Path(document.file))
    assert found.doctor == checked()
    assert found.history is not None
    assert [rank.rank for rank in found.history.ranks] == [0, 1, 2]
    assert document.left_out == ("native frames and local variables: reading them pauses a rank",)


def test_a_public_one_has_them_with_other_names(record: Any) -> None:
    document, _ = record(publisher=Publisher())
    found = replay(Path(document.file))
    assert found.doctor is not None
    assert found.recorders is not None
    assert found.doctor.nodes[0].hostname.startswith("host-")
    actors = {worker.actor_id for worker in found.last.workers}
    assert {rank.actor_id for rank in found.recorders.ranks} == actors


def test_what_cannot_be_read_is_left_out(record: Any) -> None:
    document, recorder = record(
        fails={
            "past": PermissionMissing("No rank could be traced; rank 0: it is stopped."),
            "diagnosis": ClusterUnreachable("The GCS is gone."),
        }
    )
    assert "what the ranks did before: No rank could be traced; rank 0: it is stopped" in (
        document.left_out
    )
    assert "checks of the nodes: The GCS is gone" in document.left_out
    assert recorder.exit_code == ExitCode.OK


@pytest.mark.parametrize("when", ["past", "diagnosis"])
@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), ExitCode.INTERRUPTED), (LimitPassed(), ExitCode.TIMEOUT)],
)
def test_an_interrupt_after_the_samples_keeps_the_file(
    record: Any, when: str, error: BaseException, code: ExitCode
) -> None:
    document, recorder = record(fails={when: error})
    assert recorder.exit_code == code
    assert document.ended_early is None
    assert any(one.startswith("a part of what the ranks did before") for one in document.left_out)
    assert replay(Path(document.file)).last.verdict == document.verdict
