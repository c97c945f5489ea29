"""A Ray cluster of the test's own: `ray start` on free ports, and nothing left of it afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, TypeVar

from tests.ray import dashboard, processes, warm
from tests.ray.jobs import Job
from tests.ray.ports import Ports
from tests.ray.processes import BIN, MARK, ROOT
from tests.ray.submission import Submission

T = TypeVar("T")

EXTENSIONS = ROOT / ".cache" / "torch_extensions"
START_TRIES = 3
KEEP = (
    *("LANG", "LC_ALL", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "TERM", "TZ", "USER", "VIRTUAL_ENV"),
    "RAY_worker_niceness",  # 15 by default: on a busy machine the ranks would starve
)

_names = itertools.count(1)


class Ended(processes.Unmet):
    """Raised when `ray start` ends by itself."""


def environment(home: Path, mark: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a small, known environment: what the test's author sets in the shell stays out."""
    kept = {name: os.environ[name] for name in KEEP if name in os.environ}
    return kept | {
        "PATH": f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home.parent / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
        "TORCH_EXTENSIONS_DIR": str(EXTENSIONS),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_prestart_worker_first_driver": "0",  # one idle process per CPU slot, 16 in most tests
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # or SIGTERM waits 30 s for detached actors
        MARK: mark,
        **(extra or {}),
    }


def outlived_by_none(argv: Sequence[str], *, signal: str = "TERM") -> list[str]:
    """Prefix the command so that it gets the signal when the test process dies."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal, *argv] if setpriv else list(argv)


class Cluster:
    """Start a cluster, give jobs to it, look at it with the real `dsray-inspect`, and end it.

    `auth="token"` writes a token to the cluster's own home folder; `token` is None otherwise.
    `warm` clusters fork the workers of their jobs, see `tests.ray.warm`.
    """

    submitted: ClassVar[list[Job]] = []
    """The jobs that were given to any cluster of this process, in order."""

    def __init__(
        self,
        *,
        num_cpus: int = 8,
        num_gpus: int = 8,
        second_node: bool = False,
        auth: Literal["disabled", "token"] = "disabled",
        warm: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.warm = warm
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus
        self.second_node = second_node
        self.token = secrets.token_hex(32) if auth == "token" else None
        self.mark = f"{processes.run_id()}/{next(_names)}"
        self._extra = {"RAY_AUTH_MODE": auth, **(env or {})}
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._warm: subprocess.Popen[bytes] | None = None
        self._ids = itertools.count(1)

    # Life

    def __enter__(self) -> Cluster:
        self.dir = processes.own_folder()
        self.home = self.dir / "home"
        self.home.mkdir()
        (self.dir / "tmp").mkdir()
        EXTENSIONS.mkdir(parents=True, exist_ok=True)
        if self.token:
            path = self.home / ".ray" / "auth_token"
            path.parent.mkdir()
            path.write_text(self.token)
            path.chmod(0o600)
        self.env = environment(self.home, self.mark, self._extra)
        self._ports = Ports()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        """Start the head, again if need be: on a busy machine a part of Ray's may give up on it."""
        for left in reversed(range(START_TRIES)):
            try:
                self._start_head()
                break
            except Ended:
                if not left:
                    raise
                self._end_processes()
                self._ports.release()
                self._ports = Ports()
        if self.second_node:
            self.add_node()
        if self.warm:
            with (self.dir / "warm.log").open("wb") as log:
                env = {**self.env, warm.PARENT: str(os.getpid())}
                self._warm = warm.start(outlived_by_none([]), self.mark, env, log)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_head(self) -> None:
        port, self.dashboard_port = self._ports.next(), self._ports.next()
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://127.0.0.1:{self.dashboard_port}"
        self._ray_start(
            "--head",
            f"--port={port}",
            f"--dashboard-port={self.dashboard_port}",
            f"--ray-client-server-port={self._ports.next()}",
            resources=(self.num_cpus, self.num_gpus),
        )
        self._wait_until_alive(1)

    def add_node(self, *, num_cpus: int | None = None, num_gpus: int | None = None) -> None:
        """Start another raylet on this machine and wait until the head knows it."""
        cpus = self.num_cpus if num_cpus is None else num_cpus
        gpus = self.num_gpus if num_gpus is None else num_gpus
        self._ray_start(f"--address={self.address}", resources=(cpus, gpus))
        self._wait_until_alive(len(self._nodes))

    def _ray_start(self, *args: str, resources: tuple[int, int]) -> None:
        number = len(self._nodes)
        metrics = {
            name: str(self._ports.next())
            for name in ("AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT")
        }
        argv = [
            *(warm.RAY if self.warm else [str(BIN / "ray")]),
            "start",
            "--block",
            "--disable-usage-stats",
            "--node-ip-address=127.0.0.1",
            f"--num-cpus={resources[0]}",
            f"--num-gpus={resources[1]}",
            f"--temp-dir={self.dir / f'ray{number}'}",
            f"--object-store-memory={200 << 20}",
            # 0 lets the kernel choose a free port, where Ray's default is one range for all.
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--dashboard-agent-listen-port={self._ports.next()}",
            # It brings what ranks print to their driver, where no test looks for it.
            *(("--include-log-monitor=false",) if self.warm else ()),
            *args,
        ]
        with self._log(number).open("wb") as log:
            node = subprocess.Popen(
                outlived_by_none(argv),
                env=self.env | metrics,
                cwd=self.dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._nodes.append(node)

    def _log(self, number: int) -> Path:
        return self.dir / f"ray-start-{number}.log"

    def _wait_until_alive(self, nodes: int) -> None:
        def alive() -> bool:
            dead = [number for number, node in enumerate(self._nodes) if node.poll() is not None]
            if dead:
                raise Ended(f"`ray start` ended\n{self.logs()}")
            summary = self.call("GET", "/nodes?view=summary")
            rows = summary["data"]["summary"] if isinstance(summary, dict) else []
            known = sum(row["raylet"].get("state") == "ALIVE" for row in rows)
            return bool(known == nodes)

        try:
            processes.wait_for(
                f"{nodes} live nodes", alive, timeout=processes.START_LIMIT_S, every=0.3
            )
        except Ended:
            raise
        except processes.Unmet as error:
            raise processes.Unmet(f"{error}\n{self.logs()}") from None

    def logs(self, lines: int = 30) -> str:
        """Return the tails of the cluster's own logs."""
        paths = [self._log(number) for number in range(len(self._nodes))]
        for name in ("gcs_server.err", "raylet.err", "raylet.out", "dashboard.log"):
            paths += sorted(self.dir.glob(f"ray*/session_2*/logs/{name}"))
        tails = []
        for path in paths:
            text = path.read_text(errors="replace") if path.exists() else ""
            tails.append("\n".join([f"== {path}", *text.splitlines()[-lines:]]))
        return "\n".join(tails)

    def stop(self) -> None:
        """End the cluster by its own processes, then make sure that nothing of it is left."""
        self._end_processes()
        self._ports.release()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _end_processes(self) -> None:
        pids = [process.pid for process in processes.with_mark(self.mark)]
        for node in reversed(self._nodes):
            node.terminate()
        for node in self._nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        self._nodes.clear()
        if self._warm:
            self._warm.kill()
            self._warm.wait()
        processes.end(self.mark)
        # Who is killed cannot remove what it recorded; that it may do so has tests of its own.
        for path in processes.in_shared_memory(pids):
            path.unlink(missing_ok=True)

    # Use

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make one call to the dashboard; None when it does not answer."""
        return dashboard.call(self.url + path, method=method, body=body, token=self.token)

    def submit(
        self,
        *args: str,
        script: str = "train.py",
        submission_id: str | None = None,
        env: Mapping[str, str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        cold: bool = False,
    ) -> Job:
        """Submit a script of tests/jobs; `env` goes to every worker.

        A warm cluster is asked as `ray job submit` asks it. Others get the real command, as do
        `cold` jobs, whose workers are started as Ray starts them in a warm cluster too.
        """
        is_warm = self.warm and not cold
        if is_warm:
            runtime_env = {"py_executable": warm.py_executable(self.mark), **(runtime_env or {})}
        name = submission_id or f"{Path(script).stem}-{next(self._ids)}"
        out = self.dir / "out" / name
        out.mkdir(parents=True)
        submission = Submission(name, out, (script, *args), env=env, runtime_env=runtime_env)
        submitted_at = time.time()
        if is_warm:
            answer = self.call("POST", "/api/jobs/", submission.body())
            assert answer == {"job_id": name, "submission_id": name}, f"{answer}\n{self.logs()}"
        else:
            checked(self.run(*submission.argv(self.url), timeout=180))
        job = Job(name, out, self.call, submitted_at=submitted_at)
        self.submitted.append(job)
        return job

    def inspect(
        self, command: str, *args: str, timeout: float = 120.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed `dsray-inspect` on this cluster; exit codes are the test's to judge."""
        argv = ("dsray-inspect", command, "--address", self.address, *args)
        return self.run(*argv, timeout=timeout, env=env)

    def watch(self, command: str, *args: str) -> subprocess.Popen[str]:
        """Start a `dsray-inspect` that goes on; the caller ends it."""
        argv = ["dsray-inspect", command, "--address", self.address, *args]
        return subprocess.Popen(
            outlived_by_none(argv),
            env=self.env,
            cwd=self.dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(
        self, *argv: str, timeout: float = 120.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run any command as a user of this cluster would: its home, its PATH, no address."""
        return subprocess.run(
            argv,
            env=self.env | dict(env or {}),
            cwd=self.dir,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )

    def wait_for(self, what: str, probe: Callable[[], T], *, timeout: float = 60.0) -> T:
        """Wait until the probe is true."""
        return processes.wait_for(what, probe, timeout=timeout)


def checked(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed; show everything it said when it failed."""
    if done.returncode:
        raise processes.Unmet(f"{done.args}\n{done.stdout}\n{done.stderr}")
    return done.stdout
