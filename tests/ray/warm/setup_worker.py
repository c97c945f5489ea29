"""Set up a worker of Ray as its own script of this name does, without half a second of imports.

Jobs that do not fork their workers, and what is no Python, get Ray's own script.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

ASK = str(Path(__file__).with_name("ask.py"))
CONTEXT, LANGUAGE = "--serialized-runtime-env-context=", "--language="


def split(argv: list[str]) -> tuple[dict[str, Any], str, list[str]]:
    """Return the context of the runtime environment, the language, and what the worker is given."""
    found = {
        name: word.removeprefix(name)
        for word in argv
        for name in (CONTEXT, LANGUAGE)
        if word.startswith(name)
    }
    rest = [word for word in argv if not word.startswith((CONTEXT, LANGUAGE))]
    return json.loads(found.get(CONTEXT, "{}")), found.get(LANGUAGE, ""), rest


def start(context: dict[str, Any], argv: list[str]) -> None:
    """Become the worker, by the shell command that Ray makes."""
    for name, value in context["env_vars"].items():
        os.environ[name] = re.sub(r"\$\{[A-Z0-9_]+\}", "", os.path.expandvars(value))

    words = ["exec", context["py_executable"], *map(shlex.quote, argv)]
    os.execvp("bash", ["bash", "-c", " ".join([*context["command_prefix"], *words])])


if __name__ == "__main__":
    context, language, rest = split(sys.argv[1:])

    if language == "PYTHON" and ASK in (context.get("py_executable") or ""):
        start(context, rest)

    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    own = Path(ray.origin).parent / "_private/workers/setup_worker.py"
    os.execv(sys.executable, [sys.executable, str(own), *sys.argv[1:]])
