"""`demo` as a user runs it: a cluster of its own, a job that hangs, and nothing left afterwards."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.ray import processes
from tests.ray.cluster import environment
from tests.ray.processes import MARK, ROOT

STOP_LIMIT_S = 120.0
CACHE = ROOT / ".cache"
"""Compiled operators stay there, so that only the first run on a machine waits for them."""


@pytest.fixture
def env() -> Iterator[dict[str, str]]:
    folder = processes.own_folder()
    (folder / "home").mkdir()
    (folder / "tmp").mkdir()
    mark = f"{processes.run_id()}/demo"
    yield environment(folder / "home", mark, {"XDG_CACHE_HOME": str(CACHE)})
    processes.end(mark)
    shutil.rmtree(folder)


@contextlib.contextmanager
def demo(env: dict[str, str], *args: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        ["dsray-inspect", "demo", *args],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(lines: IO[str], word: str) -> Iterator[str]:
    """Yield lines up to one that begins with a word, or to the end."""
    for line in lines:
        yield line

        if line.startswith(word):
            return


def test_finds_the_rank_that_hangs_and_leaves_nothing(env: dict[str, str]) -> None:
    with demo(env, "--fault", "hang", "--keep") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        shown = "".join(until(process.stdout, "evidence"))
        assert any("until Ctrl-C" in said for said in process.stderr)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=STOP_LIMIT_S)

    assert "HUNG: Rank 1 has been blocked in load_batch" in shown
    assert "rank_blocked_in_user_code" in shown
    assert "ZeRO-2" in shown
    assert "in the flight recorders" in shown
    assert process.returncode == 0, said
    assert "Stopped: the demo left no process and no folder behind." in said
    assert processes.with_mark(env[MARK]) == []
    assert list(Path(env["TMPDIR"]).iterdir()) == []


def test_an_interrupt_while_it_starts_leaves_nothing(env: dict[str, str]) -> None:
    with demo(env, "--once") as process:
        processes.wait_for(
            "its Ray to start", lambda: len(processes.with_mark(env[MARK])) > 3, timeout=120
        )
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=STOP_LIMIT_S)

    assert (process.returncode, out) == (130, ""), said
    assert "Traceback" not in said
    assert processes.with_mark(env[MARK]) == []
    assert list(Path(env["TMPDIR"]).iterdir()) == []
