"""What the demo needs on this machine beside dsray-inspect itself."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from dsray_inspect.agent.errors import UsageError

MODULES = {"torch": "torch", "deepspeed": "deepspeed", "pyarrow": "ray[train]"}
"""What Ray Train and the job import, and the requirement that brings it."""


def check_needs(path: str) -> None:
    """Return when the job can run with the programs of `path` (as in PATH).

    Raises:
        UsageError: something is not installed; the help says how to get it.
    """
    if missing := list(missing_modules()):
        raise UsageError(
            f"The demo trains for real, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed here.",
            help_text=f"{sys.executable} -m pip install 'dsray-inspect[train]'",
        )

    if missing := list(missing_tools(path)):
        raise UsageError(
            f"DeepSpeed compiles its first operator, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing for that.",
            help_text="apt install g++ python3-dev (dnf install gcc-c++ python3-devel); "
            f"{sys.executable} -m pip install ninja",
        )


def missing_modules() -> Iterator[str]:
    for module, requirement in MODULES.items():
        if importlib.util.find_spec(module) is None:
            yield requirement


def missing_tools(path: str) -> Iterator[str]:
    """Yield what torch's `cpp_extension` will look for in vain."""
    compiler = os.environ.get("CXX", "c++")

    if shutil.which(compiler, path=path) is None:
        yield f"a C++ compiler ({compiler})"

    if shutil.which("ninja", path=path) is None:
        yield "ninja"

    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        yield "Python's headers (Python.h)"
