"""Processes of a test run: marked when they start, found again whatever became of their parents."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
MARK = "DSRAY_TEST_RUN_ID"
OWNER = "run_id"
START_LIMIT_S = 420.0


class Unmet(AssertionError):
    """Raised when what a test waits for does not come true in time."""


def own_folder() -> Path:
    """Make a folder with a path short enough for Ray's sockets (at most 107 characters in all)."""
    folder = Path(tempfile.mkdtemp(prefix="dsray-t", dir="/tmp"))
    (folder / OWNER).write_text(run_id())
    return folder


def sweep() -> None:
    """End and remove what test runs left that were killed."""
    for run in {mark.partition("/")[0] for _, mark in marked()}:
        if is_over(run):
            end(run)
    for owner in Path("/tmp").glob(f"dsray-t*/{OWNER}"):
        if is_over(owner.read_text()):
            shutil.rmtree(owner.parent, ignore_errors=True)


def wait_for(what: str, probe: Callable[[], T], *, timeout: float = 60.0, every: float = 0.1) -> T:
    """Return the probe's first true answer; the limit is generous, the wait is not."""
    deadline = time.monotonic() + timeout
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise Unmet(f"waited {timeout:.0f} s in vain: {what}")
        time.sleep(every)
    return answer


def wait_until_equal(
    what: str,
    wanted: object,
    probe: Callable[[], object],
    *,
    timeout: float = 60.0,
    every: float = 0.1,
) -> None:
    """Wait until the probe returns what is wanted; show what it returns if it never does."""
    last: list[object] = []

    def equal() -> bool:
        last[:] = [probe()]
        return last == [wanted]

    try:
        wait_for(what, equal, timeout=timeout, every=every)
    except Unmet as error:
        raise Unmet(f"{error}; it is {last[0]}") from None


def run_id(pid: int | None = None) -> str:
    """Name a test process so that no later one has the same name."""
    pid = os.getpid() if pid is None else pid
    namespace = os.stat(f"/proc/{pid}/ns/pid").st_ino
    # In ticks since boot: seconds since 1970 would move with the machine's clock.
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{namespace}-{pid}-{started}"


def is_over(run: str) -> bool:
    """Tell whether the run was one of this pid namespace and its process is gone."""
    namespace, _, rest = run.partition("-")
    if namespace != run_id().partition("-")[0]:
        return False
    try:
        return run_id(int(rest.partition("-")[0])) != run
    except OSError:
        return True


def marked() -> Iterator[tuple[psutil.Process, str]]:
    """Yield every live process that a test run started, with its mark."""
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK)
        except psutil.Error:
            continue
        if mark and process.pid != os.getpid():
            yield process, mark


def with_mark(mark: str) -> list[psutil.Process]:
    """Return the live processes that carry the mark, or one below it."""
    return [p for p, m in marked() if m == mark or m.startswith(mark + "/")]


def end(mark: str, *, timeout: float = 30.0) -> None:
    """Kill what carries the mark until nothing does."""

    def gone() -> bool:
        processes = with_mark(mark)
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        return not processes

    wait_for(f"processes of {mark} to be gone", gone, timeout=timeout)


def in_shared_memory(pids: Iterable[int]) -> set[Path]:
    """Return our files in shared memory that carry the pid of one of these processes."""
    wanted = {str(pid) for pid in pids}
    files = Path("/dev/shm").glob("dsray-*")
    return {path for path in files if wanted.intersection(path.name.split("-"))}


def py_spy(pid: int) -> list[str]:
    """Return the command line that dumps a process's stacks without stopping it."""
    return [str(BIN / "py-spy"), "dump", "--json", "--nonblocking", "--pid", str(pid)]


def parse_json(done: subprocess.CompletedProcess[str]) -> Any:
    """Return what a command printed, or None when it failed."""
    return json.loads(done.stdout) if done.returncode == 0 else None


def parse_stacks(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """Return the function names of every thread, innermost first, from what py-spy printed."""
    return {
        thread["thread_name"] or str(thread["thread_id"]): [f["name"] for f in thread["frames"]]
        for thread in parse_json(done) or ()
    }


def stacks(pid: int) -> dict[str, list[str]]:
    """Return the function names of every thread of a process, innermost first."""
    done = subprocess.run(py_spy(pid), capture_output=True, text=True, timeout=60)
    return parse_stacks(done)


def names(stacks: dict[str, list[str]]) -> set[str]:
    """Return the plain names of all functions on the stacks, without what they are defined in."""
    return {name.rpartition(".")[2] for frames in stacks.values() for name in frames}


def is_in(pid: int, function: str) -> bool:
    """Tell whether any thread of the process is inside the function."""
    return function in names(stacks(pid))
