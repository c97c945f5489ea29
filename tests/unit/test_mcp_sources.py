"""Where the MCP tools read: which files they may open, when they read a job, and who reads it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from dsray_inspect.agent.errors import (
    ClusterUnreachable,
    InspectError,
    TargetNotFound,
    UsageError,
)
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.history import History
from dsray_inspect.agent.mcp import answerer
from dsray_inspect.agent.mcp.answerer import Answerer
from dsray_inspect.agent.mcp.calls import ToolCall, ToolReply
from dsray_inspect.agent.mcp.incident_files import IncidentFiles
from dsray_inspect.agent.mcp.incidents import OpenedIncidents
from dsray_inspect.agent.mcp.live import LiveJobs
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import Session
from tests.unit.incidents import hung, two_samples, write
from tests.unit.mcp_calls import EVERY_S, REQUEST, answer_of, error_of, toolbox
from tests.unit.samples import job
from tests.unit.snapshots import recorded

# Files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with an incident file, and one beside it that must not be opened."""
    folder = tmp_path / "incidents"
    (folder / "night").mkdir(parents=True)
    write(folder / "hang.dsray", two_samples())
    write(folder / "night" / "deep.dsray", two_samples())
    write(tmp_path / "secret.dsray", two_samples())
    (folder / "link.dsray").symlink_to(tmp_path / "secret.dsray")
    (folder / "out").symlink_to(tmp_path)
    (folder / "inner.dsray").symlink_to(folder / "hang.dsray")
    (folder / "folder.dsray").mkdir()
    (folder / "notes.txt").write_text("x")
    os.mkfifo(folder / "pipe.dsray")
    return folder


def test_only_files_below_the_folder_are_listed(tree: Path) -> None:
    found = {file.name for file in IncidentFiles([], [tree]).found()}
    assert found == {"hang.dsray", "night/deep.dsray"}


@pytest.mark.parametrize("name", ["hang.dsray", "night/deep.dsray", "./hang.dsray"])
def test_files_below_the_folder_are_opened(tree: Path, name: str) -> None:
    for path in (name, str(tree / name)):
        assert OpenedIncidents(IncidentFiles([], [tree])).open(path)[0].id == "i1.2"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.dsray",
        "night/../../secret.dsray",
        "link.dsray",
        "inner.dsray",
        "out/secret.dsray",
        "folder.dsray",
        "pipe.dsray",
        "notes.txt",
        "night",
        "",
        "/etc/passwd",
        "/proc/self/fd/0.dsray",
        "hang.dsray\0.dsray",
        "gone.dsray",
        "gone/gone.dsray",
        "hang.dsray/x.dsray",
        "x" * 300 + ".dsray",
    ],
)
def test_nothing_else_is_opened(tree: Path, name: str) -> None:
    files = IncidentFiles([], [tree])

    for path in (name, str(tree / name)) if name else (name,):
        with pytest.raises((UsageError, TargetNotFound)) as caught, files.opened(path):
            pass

        assert caught.value.help_text


def test_what_lies_outside_and_what_does_not_exist_there_cannot_be_told_apart(tree: Path) -> None:
    files = IncidentFiles([], [tree])
    said = []

    for name in ("secret", "not-there"):
        path = f"{tree.parent}/{name}.dsray"

        with pytest.raises(UsageError) as caught, files.opened(path):
            pass

        said.append(str(caught.value).replace(path, "PATH"))

    assert said[0] == said[1]


def test_a_named_file_is_opened_and_may_be_a_link(tree: Path) -> None:
    link = tree / "link.dsray"
    opened, _ = OpenedIncidents(IncidentFiles([link], [])).open(str(link))
    assert opened.incident == "i1"

    with pytest.raises(UsageError), IncidentFiles([link], []).opened("hang.dsray"):
        pass


def test_folders_and_files_that_are_not_there_are_told_at_once(tree: Path) -> None:
    for files, folders in (([tree / "gone"], []), ([], [tree / "gone"]), ([tree], [])):
        with pytest.raises(UsageError) as caught:
            IncidentFiles(files, folders)

        assert caught.value.help_text


def test_a_damaged_file_is_told_by_the_name_that_the_agent_gave(tree: Path) -> None:
    (tree / "hang.dsray").write_bytes(b"no zip")
    told = error_of(toolbox(tree), "open_incident", path="hang.dsray")
    assert told["untrusted"]["what"] == "hang.dsray is no incident file of dsray-inspect."


def test_a_file_that_is_cut_off_says_so(tree: Path) -> None:
    data = (tree / "hang.dsray").read_bytes()
    (tree / "hang.dsray").write_bytes(data[: data.index(b"samples/0002") + 50])
    told = answer_of(toolbox(tree), "open_incident", path="hang.dsray")
    assert (told["damaged"], told["samples"]) == (True, 1)


def test_few_files_are_kept_and_opened_once(tree: Path) -> None:
    for number in range(5):
        write(tree / f"{number}.dsray", [hung(100.0)])

    box = toolbox(tree)
    handles = [answer_of(box, "open_incident", path=f"{n}.dsray")["handle"] for n in (0, 0, 1, 2)]
    assert handles == ["i1", "i1", "i2", "i3"]
    answer_of(box, "why", incident="i1")
    answer_of(box, "open_incident", path="3.dsray")
    answer_of(box, "open_incident", path="4.dsray")
    assert error_of(box, "why", incident="i2")["error"] == "not_found"
    answer_of(box, "why", incident="i1")


# Live jobs


class FakeSession:
    """A session on a run that hangs, which counts what is asked of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.began_at: list[float] = []
        self.requests: list[SampleRequest] = []
        self.fails: InspectError | None = None
        self.is_open = True

    def __exit__(self, *_given: object) -> None:
        self.is_open = False

    def candidates(self, *, inject: bool) -> list[Candidate]:
        self.began_at.append(self._clock.now_s)
        return [Candidate(job=job(), actors=None)]

    def find(self, name: str | None, *, inject: bool) -> Candidate:
        self.began_at.append(self._clock.now_s)

        if self.fails is not None:
            raise self.fails

        if name == "nope":
            raise TargetNotFound("There is no job nope.", help_text="ls")

        return Candidate(job=job(is_dead=True), actors=None)

    def refreshed(self, candidate: Candidate) -> Candidate:
        return candidate

    def snapshot(self, candidate: Candidate, ask: SampleRequest) -> Snapshot:
        self.requests.append(ask)
        self._clock.now_s += 1.0
        hung = recorded("hung")
        ended = msgspec.structs.replace(hung.job, state="FAILED")
        return msgspec.structs.replace(hung, job=ended, taken_at=self._clock.now_s)

    def history(self, *_given: object) -> History:
        return History(note="nothing")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Bench:
    """Live jobs on sessions that are made when they are needed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sessions: list[FakeSession] = []
        self.live = LiveJobs(
            self._connect,
            REQUEST,
            prefix="s1",
            every_s=EVERY_S,
            monotonic=self.clock,
            sleep=self.clock.sleep,
        )

    def _connect(self) -> Session:
        self.sessions.append(FakeSession(self.clock))
        return cast(Session, self.sessions[-1])


def test_a_recent_sample_is_given_again() -> None:
    bench = Bench()
    first = bench.live.newest("")
    bench.clock.now_s += EVERY_S - 1
    assert bench.live.newest("") is first
    bench.clock.now_s += 2
    assert bench.live.newest("").id == "s1.2"
    assert len(bench.sessions) == 1


def test_no_reading_begins_sooner_than_the_user_allows() -> None:
    bench = Bench()
    bench.live.newest("")
    bench.live.newest("j1")
    bench.live.runs()
    bench.live.runs()
    (session,) = bench.sessions
    assert session.began_at == [1000.0, 1006.0, 1012.0]


def test_details_are_read_of_the_named_ranks_only() -> None:
    bench = Bench()
    sample = bench.live.newest("")
    found = bench.live.details(sample.id, (1,), with_locals=True, log_lines=5)
    request = bench.sessions[0].requests[-1]
    (actor,) = (worker.actor_id for worker in sample.snapshot.workers if worker.rank == 1)
    assert (request.only, request.locals, request.log_lines) == (frozenset([actor]), True, 5)
    assert (request.env, request.deepspeed) == (False, False)
    assert found.id == "s1.2"
    assert found.explanation.verdict == sample.explanation.verdict
    assert bench.live.newest("") is not found


def test_a_cluster_that_is_gone_is_an_error_and_is_joined_again() -> None:
    bench = Bench()
    kept = bench.live.newest("")
    bench.sessions[0].fails = ClusterUnreachable("It is gone.")

    with pytest.raises(ClusterUnreachable):
        bench.live.newest("j1")

    assert not bench.sessions[0].is_open
    assert bench.live.sample(kept.id) is kept
    assert bench.live.newest("j1").id == "s1.2"
    assert [session.is_open for session in bench.sessions] == [False, True]


def test_a_job_that_is_not_there_ends_no_session() -> None:
    bench = Bench()

    with pytest.raises(TargetNotFound):
        bench.live.newest("nope")

    assert bench.sessions[0].is_open


def test_few_samples_are_kept_but_the_verdicts_of_all() -> None:
    bench = Bench()
    samples = [bench.live.newest(f"j{number}") for number in range(12)]

    with pytest.raises(TargetNotFound, match="no longer kept"):
        bench.live.sample(samples[0].id)

    changes, count = bench.live.changes(samples[-1])
    assert (len(changes), count) == (1, 12)
    assert (changes[0].sample, changes[0].verdict.cause) == ("", "rank_blocked_in_user_code")


def test_locals_are_off_unless_the_user_allows_them() -> None:
    bench = Bench()
    box = toolbox(live=bench.live)
    told = error_of(box, "stacks", ranks=[1], locals=True)
    assert "Local variables of live jobs are off" in told["untrusted"]["what"]
    assert not any(request.locals for request in bench.sessions[0].requests)


def test_a_live_job_is_asked_through_the_tools() -> None:
    box = toolbox(live=Bench().live)
    told = answer_of(box, "why")
    assert told["sample"]["id"] == "s1.1"
    assert told["sample"]["source"] == "live"
    history = answer_of(box, "history")
    assert [one["sample"] for one in history["verdicts"]] == ["s1.1"]
    assert "when it was asked" in history["missing"][1]
    assert answer_of(box, "ranks", sample="s1.1")["ranks"][0]["blamed"]


# The process that answers


CALL = ToolCall(tool="why", arguments=msgspec.Raw(b"{}"))
ECHO = """
import sys
for line in sys.stdin:
    print('{"document": {"n": "%s"}}' % sys.argv[2].partition("=")[2], flush=True)
"""
SILENT = "import sys; sys.stdin.readline(); sys.stdin.readline()"
DIES = "import sys; sys.stdin.readline(); sys.exit('error: The cluster ended this process.')"
CRASHES = "import os, sys; sys.stdin.readline(); os.abort()"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answerer]:
    def started(script: str, limit_s: float = 60.0) -> Answerer:
        monkeypatch.setattr(answerer, "_CLI", script)
        return Answerer("mcp", ["--", "x"], limit_s=limit_s, restart_s=0.0)

    return started


def test_one_process_answers_all_calls(stub: Callable[..., Answerer]) -> None:
    with stub(ECHO) as asker:
        assert [json.loads(bytes(asker.call(CALL).document)) for _ in range(3)] == [{"n": "1"}] * 3


@pytest.mark.parametrize(
    ("script", "code", "what"),
    [
        (DIES, "cluster_unreachable", "The cluster ended this process."),
        (CRASHES, "cluster_unreachable", "has ended: the cluster may be gone."),
        ("print('no json', flush=True); input(); input()", "cluster_unreachable", "has ended"),
        (SILENT, "timed_out", "No answer came within 0.5 s"),
    ],
)
def test_a_process_that_ends_or_is_late_costs_one_call(
    stub: Callable[..., Answerer],
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    code: str,
    what: str,
) -> None:
    with stub(script, 0.5 if script == SILENT else 60.0) as asker:
        reply = asker.call(CALL)
        told = json.loads(bytes(reply.document))
        assert reply.is_error
        assert told["error"] == code
        assert what in told["untrusted"]["what"]
        monkeypatch.setattr(answerer, "_CLI", ECHO)
        asker._limit_s = 60.0
        assert json.loads(bytes(asker.call(CALL).document)) == {"n": "2"}


def test_closing_ends_a_call_that_nobody_waits_for(
    stub: Callable[..., Answerer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answerer, "_END_TIMEOUT_S", 0.2)
    replies: list[ToolReply] = []
    begun = threading.Event()
    never = "import signal, sys; print('x', end='', flush=True); signal.pause()"

    with stub(never) as asker:
        running = asker._running

        def noted() -> Any:
            process = running()
            begun.set()
            return process

        monkeypatch.setattr(asker, "_running", noted)
        thread = threading.Thread(target=lambda: replies.append(asker.call(CALL)))
        thread.start()
        assert begun.wait(30)

    thread.join(30)
    assert [reply.is_error for reply in replies] == [True]
