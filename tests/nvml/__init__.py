"""A small `libnvidia-ml.so.1`, compiled when it is needed, for machines without a GPU."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")
NAME = "libnvidia-ml.so.1"


def build(folder: Path) -> dict[str, str]:
    """Compile the library into the folder; return the variables that make a process find it."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / NAME
    command = ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", f"-Wl,-soname,{NAME}"]
    subprocess.run([*command, "-o", str(target), str(SOURCE)], check=True)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))
    return {"LD_LIBRARY_PATH": path}
