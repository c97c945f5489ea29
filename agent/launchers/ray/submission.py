"""`ray job submit` with a recorded start: the same command, with two small modules added for the job.

Only `py_modules` of the runtime environment is added to. The user's own working directory,
modules, variables and setup hook stay as they are; nothing of them is written over.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.errors import UsageError

_TAKEN = ("--runtime-env", "--runtime-env-json", "--working-dir")


def submit(options: Sequence[str], command: Sequence[str]) -> int:
    """Run `ray job submit` with these options and a recorded start; returns its exit code.

    Raises:
        UsageError: the runtime environment that was given cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="dsray-submit-") as folder:
        kept, given = taken_out(options)
        runtime_env = with_recorder(_runtime_env_of(given), staged(Path(folder)))
        argv = [*_ray_job_submit(), *kept, "--runtime-env-json", json.dumps(runtime_env)]
        return subprocess.run([*argv, "--", *command], check=False).returncode


def _ray_job_submit() -> list[str]:
    """Return the command beside this Python, else that of the module."""
    beside = Path(sys.executable).with_name("ray")
    ray = [str(beside)] if beside.exists() else [shutil.which("ray") or "ray"]
    return [*ray, "job", "submit"]


def taken_out(options: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the options without those that tell the runtime environment, and these."""
    kept: list[str] = []
    given: dict[str, str] = {}
    words = iter(options)

    for word in words:
        name, equals, value = word.partition("=")

        if name not in _TAKEN:
            kept.append(word)
            continue

        found = value if equals else next(words, None)

        if found is None:
            raise UsageError(f"{name} needs a value.")

        given[name] = found

    return kept, given


def _runtime_env_of(given: dict[str, str]) -> dict[str, Any]:
    """Return the user's runtime environment as `ray job submit` itself would read it."""
    from ray.dashboard.modules.dashboard_sdk import parse_runtime_env_args

    try:
        found = parse_runtime_env_args(
            runtime_env=given.get("--runtime-env"),
            runtime_env_json=given.get("--runtime-env-json"),
            working_dir=given.get("--working-dir"),
        )
    except Exception as error:
        first = str(error).partition("\n")[0]
        raise UsageError(f"The runtime environment cannot be read: {first}") from error

    if not isinstance(found or {}, dict):
        raise UsageError("The runtime environment is not a table of names and values.")

    return dict(found or {})


def with_recorder(runtime_env: dict[str, Any], module: Path) -> dict[str, Any]:
    """Return the runtime environment with our module behind the user's own."""
    modules = [*(runtime_env.get("py_modules") or []), str(module)]
    # Job and script may both name `py_modules` then; the script's are taken.
    env_vars = {shelf.OVERRIDE_VARIABLE: "1", **(runtime_env.get("env_vars") or {})}
    return {**runtime_env, "py_modules": modules, "env_vars": env_vars}


def staged(folder: Path) -> Path:
    """Return a folder that is the module `sitecustomize`: the recorder, and nothing else."""
    import dsray_inspect.agent.probes as probes

    source = Path(next(iter(probes.__path__))) / "startup.py"
    module = folder / "sitecustomize"
    module.mkdir()
    shutil.copyfile(source, module / "__init__.py")
    return module
