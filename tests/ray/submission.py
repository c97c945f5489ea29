"""A job to be submitted: one of the scripts of tests/jobs with its arguments."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.ray.processes import ROOT

JOBS = ROOT / "tests" / "jobs"


class Submission:
    """What is submitted, as `ray job submit` takes it and as it tells the dashboard."""

    def __init__(
        self,
        name: str,
        out: Path,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        script, *args = command
        self.name = name
        self.entrypoint = ["python", str(JOBS / script), "--out", str(out), *args]
        self.runtime_env = dict(runtime_env or {})
        if env:
            known = self.runtime_env.get("env_vars", {})
            self.runtime_env["env_vars"] = {**known, **env}

    def argv(self, url: str) -> list[str]:
        """Return its `ray job submit`."""
        given = ("--runtime-env-json", json.dumps(self.runtime_env)) if self.runtime_env else ()
        return [
            *("ray", "job", "submit", "--no-wait", "--address", url, "--submission-id", self.name),
            *(*given, "--", *self.entrypoint),
        ]

    def body(self) -> dict[str, object]:
        """Return what `ray job submit` sends to the dashboard."""
        return {
            "entrypoint": shlex.join(self.entrypoint),
            "submission_id": self.name,
            "runtime_env": self.runtime_env,
        }
