"""torch's flight recorder read from another process's memory, held to torch's own dump of it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.remote import recorder_layout
from dsray_inspect.agent.remote.recorder_layout import LayoutUnknown, layout_of, torch_library
from dsray_inspect.agent.remote.recorder_memory import RecorderUnreadable, recorded_in
from dsray_inspect.agent.sampling import recorder_trial
from tests.ray.processes import wait_for

JOB = Path(__file__).parents[1] / "jobs" / "collectives.py"
TRIAL = Path(str(recorder_trial.__file__)).read_text()
EVERY = 10_000
HELD = (
    "collective_seq_id",
    "input_dtypes",
    "input_sizes",
    "pg_id",
    "process_group",
    "profiling_name",
    "retired",
    "time_created_ns",
    "timeout_ms",
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep layouts of these tests to themselves: the first test finds it, the others read it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "dsray-inspect"


@contextlib.contextmanager
def two_ranks(folder: Path, how: str, count: int = 5) -> Iterator[int]:
    """Start two ranks; gives the pid of the one to read once it is ready."""
    with contextlib.ExitStack() as stack:
        ranks = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(JOB), str(rank), str(folder), str(count), how],
                    stdout=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
                )
            )
            for rank in (0, 1)
        ]

        try:
            assert ranks[0].stdout is not None
            ready = ranks[0].stdout.readline().split()
            assert ready[:1] == ["ready"]
            yield int(ready[1])
        finally:
            for rank in ranks:
                os.killpg(rank.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """One rank that waits, for all tests that only read it; its pid, and its folder."""
    folder = tmp_path_factory.mktemp("standing")

    with two_ranks(folder, "sleep") as pid:
        yield pid, folder


def read(pid: int, newest: int = EVERY) -> list[dict[str, Any]]:
    path, base = torch_library(pid) or ("", 0)
    return recorded_in(pid, base, layout_of(pid, path, TRIAL), newest)


def own_dump(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = pickle.loads((folder / "dump").read_bytes())["entries"]
    return entries


def facts(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in HELD}


def assert_same(pid: int, folder: Path) -> None:
    assert [facts(entry) for entry in read(pid)] == [facts(entry) for entry in own_dump(folder)]


@pytest.mark.parametrize("how", ["gil", "fork"])
def test_it_reads_what_torch_itself_tells(how: str, tmp_path: Path) -> None:
    with two_ranks(tmp_path, how) as pid:
        assert_same(pid, tmp_path)


def test_the_collective_that_a_rank_waits_in_is_the_one_not_retired(
    standing: tuple[int, Path],
) -> None:
    waiting = [entry for entry in read(standing[0]) if not entry["retired"]]
    assert [(entry["profiling_name"], entry["input_sizes"]) for entry in waiting] == [
        ("gloo:all_reduce", [[1234]])
    ]


def test_a_stopped_process_is_read_without_being_woken(standing: tuple[int, Path]) -> None:
    pid, folder = standing
    os.kill(pid, signal.SIGSTOP)

    try:
        wait_until_state(pid, "T")
        assert_same(pid, folder)
        assert state_of(pid) == "T"
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_ring_that_has_wrapped_is_put_in_order(tmp_path: Path) -> None:
    with two_ranks(tmp_path, "sleep", count=1_200) as pid:
        assert len(own_dump(tmp_path)) == 2_000 < 2 * 1_200
        assert_same(pid, tmp_path)


def test_a_rank_that_goes_on_gives_records_in_order_none_of_them_torn(tmp_path: Path) -> None:
    with two_ranks(tmp_path, "move", count=800) as pid:
        for _ in range(50):
            entries = read(pid, newest=4)
            times = [entry["time_created_ns"] for entry in entries]
            assert times == sorted(times)
            moving = [entry for entry in entries if entry.get("input_sizes") == [[5]]]
            assert {entry["profiling_name"] for entry in moving} <= {"gloo:all_reduce"}
            assert {tuple(entry["input_dtypes"]) for entry in moving} <= {("Float",)}


def test_only_the_newest_of_each_group_are_read_whole(standing: tuple[int, Path]) -> None:
    entries = read(standing[0], newest=2)
    whole = [entry for entry in entries if "profiling_name" in entry]
    assert [entry["collective_seq_id"] for entry in whole] == [4, 5, 5, 6]
    assert len(entries) == 11


def test_a_layout_is_found_once_and_kept_by_build_id(
    standing: tuple[int, Path], cache: Path
) -> None:
    pid, _ = standing
    path, _ = torch_library(pid) or ("", 0)
    first = layout_of(pid, path, TRIAL)
    again = layout_of(pid, path, "raise SystemExit('an experiment that is not needed')")
    assert first == again
    kept = f"recorder-{recorder_layout._VERSION}-{recorder_layout.build_id(path)}.json"
    assert [file.name for file in cache.iterdir()] == [kept]


def test_an_experiment_that_ends_badly_is_told_and_not_kept(
    standing: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path, _ = torch_library(standing[0]) or ("", 0)

    with pytest.raises(LayoutUnknown, match="layout of its recorder could not be found"):
        layout_of(standing[0], path, "raise SystemExit(1)")

    assert list(tmp_path.rglob("*.json")) == []


def test_an_experiment_that_takes_longer_than_a_sample_is_waited_for_by_the_next(
    standing: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pid, (path, _) = standing[0], torch_library(standing[0]) or ("", 0)
    slow = "import time; time.sleep(0.5); print('{\"stride\": 8}')"

    with pytest.raises(LayoutUnknown, match="the next sample may know"):
        layout_of(pid, path, slow, 0.0)

    assert layout_of(pid, path, "raise SystemExit(1)")["stride"] == 8


def test_an_experiment_finds_the_libraries_that_the_rank_finds(
    standing: tuple[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/cuda/lib64")
    monkeypatch.setenv("RAY_JOB_ID", "02000000")
    pid, (path, _) = standing[0], torch_library(standing[0]) or ("", 0)
    tell = "import json, os; print(json.dumps(dict(os.environ)))"
    seen = layout_of(pid, path, tell)
    assert seen["LD_LIBRARY_PATH"] == "/opt/cuda/lib64"
    assert "RAY_JOB_ID" not in seen


def test_an_experiment_goes_on_when_the_command_that_began_it_is_killed(
    standing: tuple[int, Path], tmp_path: Path
) -> None:
    pid, (path, _) = standing[0], torch_library(standing[0]) or ("", 0)
    go, begun = tmp_path / "go", tmp_path / "begun"
    slow = f"""
import pathlib, sys, time
pathlib.Path({str(begun)!r}).touch()
while not pathlib.Path({str(go)!r}).exists():
    time.sleep(0.02)
pathlib.Path(sys.argv[1]).parent.mkdir(parents=True)
pathlib.Path(sys.argv[1]).write_text('{{"stride": 8}}')
"""
    ask = (
        "from dsray_inspect.agent.remote.recorder_layout import layout_of;"
        f"layout_of({pid}, {path!r}, {slow!r})"
    )
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    with subprocess.Popen([sys.executable, "-c", ask], env=env) as command:
        wait_for("the experiment to begin", begun.exists)
        command.kill()

    go.touch()
    kept = tmp_path / "cache" / "dsray-inspect"
    wait_for("its result", lambda: [file for file in kept.glob("*") if file.read_text()])


def test_of_two_experiments_at_once_one_does_the_work(tmp_path: Path) -> None:
    kept_at = tmp_path / "cache" / "found.json"
    kept_at.parent.mkdir()
    kept_at.write_text("a file that a full disk has cut off")
    counted = TRIAL.replace(
        "def layout() -> dict[str, Any]:",
        f"def layout():\n    open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"
        "    time.sleep(0.3)\n    return {'stride': 8}\n\n"
        "def unused() -> dict[str, Any]:",
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", counted, str(kept_at)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [run.communicate()[0] for run in runs] == ['{"stride": 8}\n'] * 2
    assert (tmp_path / "runs").read_text() == "x"
    assert [file.name for file in kept_at.parent.iterdir()] == ["found.json"]


def test_a_layout_that_does_not_fit_gives_nothing_rather_than_something(
    standing: tuple[int, Path],
) -> None:
    pid, (path, base) = standing[0], torch_library(standing[0]) or ("", 0)
    layout = dict(layout_of(pid, path, TRIAL))

    for wrong in ({"at": layout["at"] + 64}, {"inside": layout["inside"] + 8}, {"stride": 448}):
        with pytest.raises(RecorderUnreadable):
            recorded_in(pid, base, {**layout, **wrong}, EVERY)


def test_a_process_without_torch_has_no_library() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert torch_library(process.pid) is None
        process.kill()


def test_a_process_that_is_gone_is_said_to_be() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()

    with pytest.raises(LayoutUnknown, match="gone"):
        torch_library(process.pid)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_until_state(pid: int, state: str) -> None:
    deadline = time.monotonic() + 30

    while state_of(pid) != state:
        assert time.monotonic() < deadline, f"process {pid} is not in state {state}"
        time.sleep(0.01)
