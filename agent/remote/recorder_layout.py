"""How the torch of a process lays out its flight recorder (stdlib only, sent by value).

Nobody documents it, and it changes from build to build: `sampling.recorder_trial` finds it by an
experiment in a process of its own, with the very library file that the rank has mapped. The result
is kept by the library's build id, in the user's cache folder of the rank's node.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from dsray_inspect.agent.remote.rights import denial

LIBRARY = "libtorch_cpu.so"
_TRIAL_S = 60.0
_VERSION = 2
"""Of the layout's form: another one is made anew."""
_FOUND: dict[str, Mapping[str, Any]] = {}
"""The layouts by the files they should be kept in: some cannot be written."""
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "HOME", "LANG", "PYTHONHOME")


class LayoutUnknown(Exception):
    """Raised when it is not known how a torch lays out its recorder; the text says why."""


def torch_library(pid: int) -> tuple[str, int] | None:
    """Return the path of the torch that a process has loaded and where; None where it has none.

    Raises:
        LayoutUnknown: its memory map cannot be read.
    """
    try:
        with open(f"/proc/{pid}/maps") as lines:
            for line in lines:
                if line.rstrip().endswith("/" + LIBRARY):
                    fields = line.split(maxsplit=5)

                    if int(fields[2], 16) == 0:
                        return fields[5].strip(), int(fields[0].partition("-")[0], 16)
    except PermissionError as error:
        raise LayoutUnknown(denial(pid)) from error
    except OSError as error:
        raise LayoutUnknown("the process is gone or not visible from here") from error

    return None


def build_id(path: str) -> str:
    """Return a library's build id (`man 5 elf`, NT_GNU_BUILD_ID), which the linker wrote into it.

    Raises:
        LayoutUnknown: it is no 64-bit library, or has none.
    """
    with open(path, "rb") as file:
        head = file.read(64)

        if head[:5] != b"\x7fELF\x02":
            raise LayoutUnknown(f"{LIBRARY} is no 64-bit library")

        headers_at = struct.unpack_from("<Q", head, 0x20)[0]
        size, count = struct.unpack_from("<HH", head, 0x36)
        file.seek(headers_at)
        headers = file.read(size * count)

        for number in range(count):
            kind, _, at, _, _, length = struct.unpack_from("<IIQQQQ", headers, number * size)

            if kind == 4:
                file.seek(at)
                found = _note(file.read(min(length, 1 << 16)))

                if found:
                    return found

    raise LayoutUnknown(f"{LIBRARY} has no build id")


def _note(data: bytes) -> str | None:
    """Return the build id of a segment of notes."""
    at = 0

    while at + 12 <= len(data):
        name_size, size, kind = struct.unpack_from("<III", data, at)
        name_at = at + 12
        value_at = name_at + (name_size + 3) // 4 * 4

        if kind == 3 and data[name_at : name_at + 4] == b"GNU\0":
            return data[value_at : value_at + size].hex()

        at = value_at + (size + 3) // 4 * 4

    return None


def layout_of(pid: int, path: str, trial: str, wait_s: float = _TRIAL_S) -> Mapping[str, Any]:
    """Return the layout for a process's library, by an experiment where it is not known yet.

    `trial` is the source of `sampling.recorder_trial`. The experiment goes on when it takes longer
    than `wait_s`, and whoever asks again later has its result.

    Raises:
        LayoutUnknown: with the reason, which is kept where every experiment would give it.
    """
    try:
        key = build_id(f"/proc/{pid}/root{path}")
    except OSError as error:
        raise LayoutUnknown(f"its {LIBRARY} cannot be read: {error.strerror}") from error

    kept_at = os.path.join(_cache_folder(), f"recorder-{_VERSION}-{key}.json")
    found = _kept(kept_at) or _experiment(pid, path, trial, kept_at=kept_at, wait_s=wait_s)

    if "error" in found:
        raise LayoutUnknown(str(found["error"]))

    return found


def _experiment(
    pid: int, path: str, trial: str, *, kept_at: str, wait_s: float
) -> Mapping[str, Any]:
    """Start the experiment, or wait for the one of this process that runs already."""
    name = f"dsray-{os.path.basename(kept_at)}"
    running = next((thread for thread in threading.enumerate() if thread.name == name), None)
    answer: list[Mapping[str, Any]] = []

    def run() -> None:
        found = _run_trial(pid, path, trial, kept_at)
        answer.append(found)

        if "error" not in found or found.get("is_final"):
            _FOUND[kept_at] = found

    if running is None:
        running = threading.Thread(target=run, name=name, daemon=True)
        running.start()

    running.join(wait_s)
    found = answer[0] if answer else _kept(kept_at)

    if found is None:
        raise LayoutUnknown(
            "how this torch lays out its recorder is being found out; the next sample may know"
        )

    return found


def _cache_folder() -> str:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(root, "dsray-inspect")


def _kept(path: str) -> Mapping[str, Any] | None:
    """Return what an experiment wrote there, or found where it could not write."""
    try:
        with open(path) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return _FOUND.get(path)

    return found if isinstance(found, dict) else None


def _run_trial(pid: int, path: str, trial: str, kept_at: str) -> Mapping[str, Any]:
    """Run the experiment in the process's own Python with its own torch.

    It goes on when the caller ends, so that a machine on which it takes longer than a command does
    gets its layout with the first command.
    """
    packages = os.path.dirname(os.path.dirname(os.path.dirname(path)))
    variables = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    priority = ["nice", "-n", "5"] if shutil.which("nice") else []

    try:
        python = os.readlink(f"/proc/{pid}/exe")
        done = subprocess.run(
            [*priority, python, "-", kept_at],
            env={
                **variables,
                "CUDA_VISIBLE_DEVICES": "",
                "PYTHONPATH": packages,
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            input=trial,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            cwd="/",
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (OSError, ValueError, IndexError) as error:
        return {"error": f"the layout of its recorder could not be found: {type(error).__name__}"}
