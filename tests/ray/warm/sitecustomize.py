"""A process that has imported what Ray's workers import, and forks one for each that asks.

It is started as `python default_worker.py` with this folder on its PYTHONPATH: Python loads this
module before it runs that script. Whoever is forked returns from here and becomes a worker of Ray
by running the script as any other does, with no frame of ours on its stack.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import socket
import sys
from typing import Any

FOLDER = os.path.dirname(__file__)
SOCKET, PARENT = "DSRAY_TEST_WARM_SOCKET", "DSRAY_TEST_WARM_PARENT"
MODULES = (
    "aiohttp",
    "fsspec.implementations.local",
    "google.protobuf.json_format",
    "grpc.aio",
    "jsonschema",
    "pandas",
    "prometheus_client",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pydantic.dataclasses",
    "requests",
    "rich.console",
    "tensorboardX",
    "torch._dynamo.testing",
    "torch._inductor.compile_fx",
    "torch.utils.data",
    "tqdm.auto",
)
"""What takes the processes of a run their time, as `python -X importtime` shows it.

Ray is not among it: its C++ side reads the environment when it is loaded. Nor is DeepSpeed: most of
its time is torch's, and whether it is imported says something of a rank.
"""
PR_SET_MM, PR_SET_MM_MAP = 35, 14
PLACES = {"start_code": 26, "end_code": 27, "start_data": 45, "end_data": 46, "start_brk": 47}
"""The fields of /proc/PID/stat that hold them, as proc(5) counts."""
OTHER_PLACES = {"start_stack": 28, "arg_start": 48, "arg_end": 49}
kept: list[ctypes.Array[ctypes.c_char]] = []
"""What must not be freed as long as the process lives."""


def serve(socket_name: str) -> None:
    """Fork for each request; returns in the child only, which is as its request wants it."""
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        sys.exit()  # it died before the kernel was told to send us a signal then

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0{socket_name}")
    listener.listen(64)

    for name in MODULES:
        importlib.import_module(name)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to be waited for

    while True:
        connection, _ = listener.accept()
        request, files = received(connection)
        pid = os.fork()

        if pid == 0:
            listener.close()
            connection.close()
            become(request, files)
            return

        for number in files:
            os.close(number)

        connection.sendall(str(pid).encode())
        connection.close()


def received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return a request, which ends where its sender stops sending, and its standard files."""
    first, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    parts = [first]

    while part := connection.recv(1 << 16):
        parts.append(part)

    request: dict[str, Any] = json.loads(b"".join(parts))
    return request, files


def become(request: dict[str, Any], files: list[int]) -> None:
    """Take over the arguments, the environment, the folder and the files of a request."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)

    os.setpgid(0, 0)  # Ray ends a worker by its process group
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv[:] = request["argv"]
    sys.path[:] = [path for path in sys.path if path != FOLDER]
    show_environ(request["environ"])


class Map(ctypes.Structure):
    """`struct prctl_mm_map` of <linux/prctl.h>: what is where in a process."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in PLACES),
        *(("brk", ctypes.c_uint64), ("start_stack", ctypes.c_uint64)),
        *((name, ctypes.c_uint64) for name in ("arg_start", "arg_end", "env_start", "env_end")),
        *(("auxv", ctypes.c_void_p), ("auxv_size", ctypes.c_uint32), ("exe_fd", ctypes.c_uint32)),
    )


def show_environ(environ: dict[str, str]) -> None:
    """Let /proc/PID/environ hold what the process began with.

    Raises:
        OSError: the kernel refuses it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sbrk.restype = ctypes.c_uint64
    text = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in environ.items())
    area = ctypes.create_string_buffer(text, len(text))
    kept.append(area)

    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()

    places = {name: int(fields[number - 3]) for name, number in (PLACES | OTHER_PLACES).items()}
    start = ctypes.addressof(area)
    known = Map(
        **places, brk=libc.sbrk(0), env_start=start, env_end=start + len(text), exe_fd=0xFFFFFFFF
    )

    if libc.prctl(PR_SET_MM, PR_SET_MM_MAP, ctypes.byref(known), ctypes.sizeof(known), 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_MM)")


if SOCKET in os.environ:
    serve(os.environ[SOCKET])
