"""Runs the command lines that `launch` prints, and collects what each rank then has."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.ray import processes
from tests.ray.cluster import environment, outlived_by_none

SCRIPT: Final = processes.ROOT / "tests" / "jobs" / "envdump.py"
# Debian's mpirun wants to be told twice that root may use it.
AS_ROOT: Final = dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")
SHELLS: Final = frozenset(["_", "SHLVL", "PWD", "OLDPWD"])
"""Variables of the shell that a command is typed in."""

Dump = dict[str, Any]


class Ranks:
    """A folder in which ranks of `envdump.py` say what they have."""

    def __init__(self) -> None:
        self.folder = processes.own_folder()
        (self.folder / "home").mkdir()
        (self.folder / "tmp").mkdir()
        self.out = self.folder / "out"
        self.out.mkdir()
        mark = f"{processes.run_id()}/launch"
        # The recorded job has a secret, which whoever starts it has to export.
        secret = {"HF_TOKEN": "hf_planted"}
        self.env = {**environment(self.folder / "home", mark), **AS_ROOT, **secret}
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def script(self) -> list[str]:
        return [str(SCRIPT), "--out", str(self.out), "--note", "two words"]

    def start(self, argv: Sequence[str], more: Mapping[str, str] | None = None) -> int:
        """Start a command; returns its pid."""
        with (self.folder / "log").open("ab") as log:
            started = subprocess.Popen(
                outlived_by_none(argv),
                env={**self.env, **(more or {})},
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        self._started.append(started)
        return started.pid

    def start_line(self, line: str) -> None:
        """Start a command line as it was printed, in a shell."""
        self.start(["bash", "-c", line])

    def wait_for(self, ranks: int) -> dict[int, Dump]:
        """Return what each rank wrote, once all have."""
        paths = [self.out / f"rank{rank}.json" for rank in range(ranks)]

        def written() -> bool:
            codes = [started.poll() for started in self._started]
            assert not any(codes), (self.folder / "log").read_text()
            return all(path.exists() for path in paths)

        processes.wait_for("every rank to join", written, timeout=processes.START_LIMIT_S)
        return {rank: json.loads(path.read_text()) for rank, path in enumerate(paths)}

    def leave(self) -> None:
        """Let all ranks end, and wait until they have; what they wrote is forgotten."""
        (self.out / "leave").touch()

        for started in self._started:
            assert started.wait(processes.START_LIMIT_S) == 0, (self.folder / "log").read_text()

        self._started.clear()

        for path in self.out.iterdir():
            path.unlink()

    def inspect(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["dsray-inspect", *words], env=self.env, capture_output=True, text=True, timeout=300
        )

    def close(self) -> None:
        (self.out / "leave").touch()

        for started in self._started:
            try:
                started.wait(30)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()

        shutil.rmtree(self.folder, ignore_errors=True)


def start_by_hand(ranks: Ranks, number: int, port: int) -> int:
    """Start ranks that no launcher started, somebody set their variables; returns the last's pid."""
    pid = 0

    for rank in range(number):
        place = {"RANK": rank, "WORLD_SIZE": number, "LOCAL_RANK": rank, "MASTER_PORT": port}
        more = {name: str(value) for name, value in place.items()}
        argv = [sys.executable, *ranks.script]
        more |= {"MASTER_ADDR": "127.0.0.1", "LOCAL_WORLD_SIZE": str(number)}
        pid = ranks.start(argv, more)

    return pid


def printed_lines(text: str) -> list[str]:
    """Return the command lines of a plan in text."""
    section = text.partition("\ncommand\n")[2].partition("\n\n")[0]
    return [line.strip() for line in section.split("\n") if not line.strip().startswith("#")]


def assert_as_planned(plan: Mapping[str, Any], dumps: Mapping[int, Dump], base: Dump) -> None:
    """Compare the live environment of each rank with the plan: all of it, in both directions."""
    ranks = {rank["rank"]: rank["env"] for rank in plan["ranks"]}
    assert ranks.keys() == dumps.keys()

    for rank, planned in ranks.items():
        live = dumps[rank]["env"]
        told = {name: one["value"] for name, one in planned.items() if one["value"] is not None}
        assert {name: live.get(name) for name in told} == told, f"rank {rank}"
        assert [name for name in planned if name not in live] == []
        new = {name for name, value in live.items() if base.get(name) != value} - SHELLS
        own = tuple(plan["own_prefixes"])
        unplanned = sorted(
            name for name in new - planned.keys() if not name.startswith(own or "\0")
        )
        assert unplanned == [], f"rank {rank} has variables that were not planned"


def script_in(folder: Path) -> str:
    return shlex.join(["python", str(SCRIPT), "--out", str(folder / "out")])


def has_mpirun() -> bool:
    return shutil.which("mpirun") is not None
