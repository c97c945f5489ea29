"""Processes with other rights, and code that runs with them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.remote import rights
from dsray_inspect.agent.remote.pyspy import find_pyspy
from tests.confined import RUNTIME_DEFAULT, confined, python_of

RAY, OTHER = 1000, 1001
IMPORTS = "import json, ctypes, dsray_inspect.agent.remote.doctor_probe"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(rights.__file__).absolute().parents[3])}
PYTHON = python_of(IMPORTS, *confined(uid=RAY), env=ENVIRONMENT) if os.geteuid() == 0 else None
needs_root = pytest.mark.skipif(PYTHON is None, reason="starts processes of other users")
needs_filters = pytest.mark.skipif(
    python_of("", *confined(refuse=RUNTIME_DEFAULT)) is None, reason="no seccomp filters here"
)


def pyspy() -> str:
    program = find_pyspy()
    assert program is not None
    return program


@contextlib.contextmanager
def running(code: str, *before: str, argument: str = "") -> Iterator[int]:
    """Yield the pid of a Python process that runs until the end of the block."""
    argv = [*before, PYTHON or sys.executable, "-c", code, argument]

    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()


def run(
    code: str, *arguments: object, before: tuple[str, ...] = (), **variables: str
) -> dict[str, Any]:
    argv = [*before, PYTHON or sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=True, env={**ENVIRONMENT, **variables}
    )
    return dict(json.loads(done.stdout))
