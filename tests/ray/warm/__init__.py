"""Workers of Ray that need not import torch again: they are forked, not started.

Starting a job costs 26 s of CPU, most of it imports in nine processes; forked ones take 12 s. A
cluster that is `warm` has one process that has imported them. A job whose runtime environment
names `py_executable` has its workers forked there, with the arguments, the environment and the
files that Ray gave them; `start_ray.py` and `setup_worker.py` bring a worker there quickly. Tests of a job's start, and those for which it counts whether an actor has torch
loaded, submit it `cold`.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent
RAY = (sys.executable, str(HERE / "start_ray.py"))
"""The program to use for `ray` where a cluster is started."""
WORKER = Path(sysconfig.get_path("platlib")) / "ray/_private/workers/default_worker.py"
SOCKET = "DSRAY_TEST_WARM_SOCKET"
PARENT = "DSRAY_TEST_WARM_PARENT"
"""The process that must not die before the warm one; where it is not set, somebody else sees to it."""


def start(
    command_prefix: Sequence[str], mark: str, env: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start the process that forks; it answers once it has imported all, and ends by SIGTERM."""
    return subprocess.Popen(
        [*command_prefix, sys.executable, "-u", str(WORKER)],
        env={**env, "PYTHONPATH": str(HERE), SOCKET: socket_name(mark)},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def py_executable(mark: str) -> str:
    """Return the runtime environment's `py_executable` by which a worker is forked."""
    return f"{sys.executable} -SE {HERE / 'ask.py'} {socket_name(mark)}"


def socket_name(mark: str) -> str:
    """Return the name of a cluster's socket, an abstract one: each network namespace has its own."""
    return f"dsray-warm-{mark.replace('/', '-')}"
