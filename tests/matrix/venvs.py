"""Venvs of other versions: made once for each set of versions, outside of the checkout.

dsray-inspect itself is not installed there; a cell puts the checkout on the path of its commands.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CACHE = Path(
    os.environ.get("DSRAY_MATRIX_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dsray-inspect-matrix"
)
OURS = (
    *("click", "msgspec", "nvidia-ml-py", "psutil", "py-spy", "pyyaml", "textual>=8.2,<9"),
    *("opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk", "prometheus-client"),
)
"""What pyproject.toml names beside Ray, DeepSpeed and torch."""
DONE = ".done"


class Versions(NamedTuple):
    """The versions of one venv; its Python is the one that makes it."""

    ray: str
    deepspeed: str
    torch: str

    @property
    def folder(self) -> Path:
        wanted = "\n".join((*self, *OURS, platform.python_version()))
        key = hashlib.sha256(wanted.encode()).hexdigest()[:8]
        return CACHE / f"ray{self.ray}-deepspeed{self.deepspeed}-torch{self.torch}-{key}"


def python_of(versions: Versions) -> Path:
    """Return the Python of a venv, which is made if it is not there."""
    folder = versions.folder
    python = folder / "bin" / "python"

    with locked(folder):
        if not (folder / DONE).exists():
            print(f"making {folder}, which takes minutes", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            make(folder, versions)
            (folder / DONE).touch()

    return python


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)

    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make(folder: Path, versions: Versions) -> None:
    """Install torch first, and hold to it: what needs torch would bring the GPU build otherwise."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    torch = f"torch=={versions.torch}"
    constraint = folder / "constraint.txt"
    constraint.write_text(f"{torch}\n")
    arguments = os.environ.get("TORCH_PIP_ARGS", "").split()
    install(folder, *arguments, torch)
    held = ("--constraint", str(constraint))
    install(folder, *held, f"ray[default,train]=={versions.ray}", "setuptools", "wheel")
    install(folder, *held, f"deepspeed=={versions.deepspeed}", *OURS)


def install(folder: Path, *arguments: str) -> None:
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet")
    subprocess.run([*pip, *arguments], check=True, env={**os.environ, "DS_BUILD_OPS": "0"})
