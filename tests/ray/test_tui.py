"""The terminal UI in a real tmux, on a real hung job: what it shows, and that it leaves nothing."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from dsray_inspect.agent.feed import HistoryLoaded
from dsray_inspect.agent.recording import events_of
from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.inspecting import our_actors
from tests.ray.jobs import Job
from tests.ray.submission import JOBS

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
SLEEPS = "time.sleep(3600)"
_numbers = itertools.count(1)


class Terminal:
    """A tmux of its own, 80 columns by 24 lines, with a shell in it; close it."""

    def __init__(self, cluster: Cluster) -> None:
        # One of its own: a server that is just ending would take the next session along.
        self._socket = str(cluster.dir / f"tmux-{next(_numbers)}")
        self._cluster = cluster
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "sh")

    def _tmux(self, *words: str) -> str:
        env = self._cluster.env | {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": "$ "}
        argv = ("tmux", "-u", "-S", self._socket, *words)
        done = subprocess.run(argv, env=env, cwd=self._cluster.dir, capture_output=True, text=True)
        return done.stdout

    def type(self, line: str) -> None:
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def resize(self, columns: int, lines: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def wait_for(self, *texts: str) -> str:
        """Wait until all of these are on the screen, and return it."""

        def screen_with_all() -> str:
            screen = self.screen()
            return screen if all(text in screen for text in texts) else ""

        try:
            return processes.wait_for(
                f"{texts} on the screen", screen_with_all, timeout=120, every=0.2
            )
        except processes.Unmet as error:
            raise AssertionError(f"{error}\n{self.screen()}") from None

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture
def terminal(cluster: Cluster) -> Iterator[Terminal]:
    terminal = Terminal(cluster)
    yield terminal
    terminal.close()


@pytest.fixture
def opened(terminal: Terminal, cluster: Cluster, hung_job: Job) -> Terminal:
    """The TUI on the hung job, its verdict on the screen."""
    terminal.type(
        f"dsray-inspect attach --address {cluster.address} {hung_job.submission_id}; echo code=$?"
    )
    terminal.wait_for("HUNG", "BLOCKED", "live")
    return terminal


def our_processes(cluster: Cluster) -> list[psutil.Process]:
    """Return the processes of dsray-inspect on this cluster: the screen's and its reader's."""
    found = []

    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue

        if "attach" in words and cluster.address in words and "python" in words[0]:
            found.append(process)

    return found


def lives(job: Job) -> dict[int, tuple[int, float]]:
    """Return the process of each rank and when it was started: the same while it is unharmed."""
    return {rank: (pid, psutil.Process(pid).create_time()) for rank, pid in job.pids().items()}


def line_of(text: str, *, after: str) -> int:
    """Return the number of the first line with a text after another one in the job's script."""
    lines = (JOBS / "train.py").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if after in line)
    return next(n for n, line in enumerate(lines[start:], start + 1) if text in line)


def wait_until_gone(cluster: Cluster) -> None:
    processes.wait_for("our processes to be gone", lambda: not our_processes(cluster), timeout=60)
    processes.wait_for("our actors to be gone", lambda: not our_actors(cluster), timeout=60)


def test_from_a_hung_job_to_its_line_of_code(
    opened: Terminal, cluster: Cluster, hung_job: Job
) -> None:
    before = lives(hung_job)
    number = line_of(SLEEPS, after="def load_batch")
    screen = opened.wait_for(f"load_batch:{number}", "waits 1")
    assert "rank 1 has been blocked in load_batch" in screen.replace("\n", " ").lower()

    opened.press("Enter")
    screen = opened.wait_for("› rank 1", "▶")
    (here,) = [line for line in screen.splitlines() if "▶" in line]
    assert str(number) in here
    assert SLEEPS in here

    opened.press("w")
    opened.wait_for("rank_blocked_in_user_code", "who waits for what")
    opened.resize(160, 48)
    opened.press("o")
    opened.wait_for("▏", "GPU")

    opened.press("q")
    opened.wait_for("code=1")
    wait_until_gone(cluster)
    assert lives(hung_job) == before
    assert hung_job.status() == "RUNNING"


@pytest.mark.parametrize("how", ["hangup", "SIGTERM", "SIGKILL"])
def test_a_screen_that_is_cut_off_leaves_nothing(
    opened: Terminal, cluster: Cluster, hung_job: Job, how: str
) -> None:
    before = lives(hung_job)
    assert len(our_processes(cluster)) == 2

    if how == "hangup":
        opened.close()
    else:
        screen, _ = sorted(
            our_processes(cluster), key=lambda process: "--follow" in process.cmdline()
        )
        os.kill(screen.pid, signal.Signals[how])

    wait_until_gone(cluster)

    if how == "SIGTERM":
        assert "code=130" in opened.wait_for("code=")

    assert lives(hung_job) == before
    assert hung_job.status() == "RUNNING"


def test_a_job_that_is_not_there(terminal: Terminal, cluster: Cluster, hung_job: Job) -> None:
    terminal.type(f"dsray-inspect attach --address {cluster.address} nobody; echo code=$?")
    screen = terminal.wait_for("code=3")
    assert "no job or run called nobody" in screen


def test_a_window_is_saved_and_shown_again(
    opened: Terminal, terminal: Terminal, cluster: Cluster
) -> None:
    opened.press("s")
    opened.wait_for("snapshots saved")
    opened.press("q")
    opened.wait_for("code=1")
    (path,) = cluster.dir.glob("dsray-*.jsonl")
    printed = cluster.run("dsray-inspect", "attach", "--replay", str(path))
    assert printed.returncode == 1
    assert printed.stdout.startswith("HUNG: Rank 1 has been blocked in load_batch")

    terminal.type(f"dsray-inspect attach --replay {path}")
    terminal.wait_for("⏸", "BLOCKED")
    terminal.press("q")
    path.unlink()


def test_following_as_json_lines(cluster: Cluster, hung_job: Job) -> None:
    words = (
        "attach",
        "--address",
        cluster.address,
        hung_job.submission_id,
        "--follow",
        "--every",
        "0.2",
    )
    reader = subprocess.Popen(
        ("dsray-inspect", *words),
        env=cluster.env,
        cwd=cluster.dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        executable=str(processes.BIN / "dsray-inspect"),
    )
    assert reader.stdout is not None

    with reader.stdout:
        first, past, *others = [reader.stdout.readline() for _ in range(4)]

    assert all(b'"load_batch"' in line and line.endswith(b"}\n") for line in (first, *others))
    (event,) = events_of([past])
    assert isinstance(event, HistoryLoaded)
    assert [rank.rank for rank in event.history.ranks] == [0, 1]
    assert event.history.ranks[0].cells.strip(" .")
    # Nobody reads any more, which is no error.
    assert reader.wait(60) == 0
