"""What every test run leaves behind: nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

MARKERS = (
    "ray: starts a real Ray cluster (tests/ray)",
    "hosts: needs root, to make two hosts of one machine",
)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def shared_memory() -> set[Path]:
    """Return the files of dsray-inspect in shared memory."""
    return set(Path("/dev/shm").glob("dsray*"))


def is_used(path: Path) -> bool:
    """Tell whether a live process, of this run or another on the machine, has the file in use."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(path) in (process / "maps").read_text():
                return True
            if any(os.readlink(one) == str(path) for one in (process / "fd").iterdir()):
                return True
        except OSError:
            continue
    return False


@pytest.fixture(scope="session", autouse=True)
def nothing_shared_left() -> Iterator[None]:
    """Fail the run when it leaves a file in shared memory that belongs to nobody."""
    before = shared_memory()
    yield
    left = [path for path in shared_memory() - before if not is_used(path)]
    assert not left, f"left in shared memory: {left}"
