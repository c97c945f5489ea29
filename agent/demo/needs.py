"""Checks what the demo needs on this machine besides dsray-inspect itself."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from dsray_inspect.agent.errors import UsageError

_MODULES = {"torch": "torch", "deepspeed": "deepspeed", "pyarrow": "ray[train]"}
"""The modules that Ray Train and the job import, and the requirements that install them."""


def check_needs(path: str) -> None:
    """Check that the job can run with the programs on `path` (in the format of PATH).

    Raises:
        UsageError: Something is not installed; the help text says how to install it.
    """
    if missing := list(_missing_modules()):
        raise UsageError(
            f"The demo runs a real training job, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed here.",
            help_text=f"{sys.executable} -m pip install 'dsray-inspect[train]'",
        )

    if missing := list(_missing_tools(path)):
        raise UsageError(
            f"DeepSpeed has to compile an operator, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing.",
            help_text="apt install g++ python3-dev (dnf install gcc-c++ python3-devel); "
            f"{sys.executable} -m pip install ninja",
        )


def _missing_modules() -> Iterator[str]:
    for module, requirement in _MODULES.items():
        if importlib.util.find_spec(module) is None:
            yield requirement


def _missing_tools(path: str) -> Iterator[str]:
    """Yield the missing tools that torch's `cpp_extension` needs."""
    compiler = os.environ.get("CXX", "c++")

    if shutil.which(compiler, path=path) is None:
        yield f"a C++ compiler ({compiler})"

    if shutil.which("ninja", path=path) is None:
        yield "ninja"

    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        yield "Python's headers (Python.h)"
