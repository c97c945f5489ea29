"""Which processes are ranks by variables of their own, read while they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dsray_inspect.agent.remote.rank_processes import places_of

NAMES = ["RANK", "WORLD_SIZE"]
# The file stands for torch's library; each child sets what its last argument says, and waits.
CHILD = """
import mmap, os, sys
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
os.environ.update(pair.split("=") for pair in sys.argv[2].split())
os.write(1, f"{os.getpid()}\\n".encode())  # in one piece: other children write there, too
sys.stdin.read()
"""
PARENT = f"""
import subprocess, sys
children = [
    subprocess.Popen([sys.executable, "-c", {CHILD!r}, sys.argv[1], given], stdin=subprocess.PIPE)
    for given in sys.argv[2:]
]
sys.stdin.read()
"""


def places(library: Path, *given: str, inherited: dict[str, str]) -> list[dict[str, str]]:
    """Return the places of children that set these variables, below a parent that has others."""
    library.write_bytes(b"\0" * 4096)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(library), *given],
        env={**os.environ, **inherited},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in given]
        return list(places_of(pids, NAMES).values())


def test_what_a_process_sets_after_its_start_makes_it_a_rank(tmp_path: Path) -> None:
    library = tmp_path / "libtorch_cpu.so"
    found = places(library, "RANK=1 WORLD_SIZE=2", "", inherited={})
    assert found == [{"RANK": "1", "WORLD_SIZE": "2"}]


def test_what_ray_inherited_from_who_started_it_makes_nobody_a_rank(tmp_path: Path) -> None:
    library = tmp_path / "libtorch_cpu.so"
    slurm = {"RANK": "0", "WORLD_SIZE": "2"}
    assert places(library, "", inherited=slurm) == []
    assert places(library, "RANK=1", inherited=slurm) == [{"RANK": "1", "WORLD_SIZE": "2"}]


def test_a_process_without_torch_is_no_rank(tmp_path: Path) -> None:
    assert places(tmp_path / "libm.so", "RANK=1", inherited={}) == []
