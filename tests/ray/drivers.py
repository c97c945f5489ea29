"""A training script started by plain `python`, which starts a Ray of its own."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.ray import processes
from tests.ray.cluster import EXTENSIONS, environment, outlived_by_none
from tests.ray.hosts import Host
from tests.ray.jobs import Ranks
from tests.ray.submission import JOBS

_names = itertools.count(1)


class LocalDriver(Ranks):
    """Run a script of tests/jobs as a user does on a laptop, until the block ends.

    RAY_AUTH_MODE is unset, so Ray's own default holds: it makes a token in the (own) home folder.
    Inside a host it is the only Ray that can be seen, in Ray's usual places.
    """

    def __init__(
        self,
        *args: str,
        script: str = "train.py",
        env: Mapping[str, str] | None = None,
        host: Host | None = None,
    ) -> None:
        self.dir = processes.own_folder()
        super().__init__(self.dir / "out")
        for name in ("home", "tmp", "out"):
            (self.dir / name).mkdir()
        self.mark = f"{processes.run_id()}/driver{next(_names)}"
        self.env = environment(self.dir / "home", self.mark)
        del self.env["RAY_AUTH_MODE"]
        if host:
            self.env["RAY_TMPDIR"] = host.env["RAY_TMPDIR"]
        self.env |= env or {}
        self._host = host
        self._argv = ["python", str(JOBS / script), "--out", str(self.out), *args]
        self._log = self.dir / "driver.log"

    def __enter__(self) -> LocalDriver:
        EXTENSIONS.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                outlived_by_none(self._inside(*self._argv)),
                env=self.env,
                cwd=self.dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def token_path(self) -> Path:
        """The token that Ray makes for the script."""
        return self.dir / "home" / ".ray" / "auth_token"

    def _inside(self, *argv: str) -> list[str]:
        return self._host.inside(*argv) if self._host else list(argv)

    def ended(self) -> str | None:
        """Return the exit code and the tail of the output, or None while the script runs."""
        if self.process.poll() is None:
            return None
        return f"exit {self.process.returncode}\n{self.logs()}"

    def logs(self, lines: int = 60) -> str:
        """Return the tail of what the script printed."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def run(
        self, *argv: str, timeout: float = 120.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the same user would in another terminal."""
        return subprocess.run(
            self._inside(*argv),
            env=self.env | dict(env or {}),
            cwd=self.dir,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )

    def stop(self, *, timeout: float = 60.0) -> None:
        """Ask the script to end, then make sure that nothing of its Ray is left."""
        self.process.terminate()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        processes.end(self.mark)
        shutil.rmtree(self.dir, ignore_errors=True)
