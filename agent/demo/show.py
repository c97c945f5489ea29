"""Runs the demo: starts a cluster and a job, attaches to it, and leaves nothing behind."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from dsray_inspect.agent.demo.cluster import Cluster, search_path
from dsray_inspect.agent.demo.descendants import adopt_orphans, end_all, titled, with_death_signal
from dsray_inspect.agent.demo.folder import Folder, OpCache
from dsray_inspect.agent.demo.needs import check_needs
from dsray_inspect.agent.demo.progress import Progress, Stage
from dsray_inspect.agent.errors import ClusterUnreachable, ExitCode, InspectError
from dsray_inspect.agent.model import Snapshot

T = TypeVar("T")

JOB = "demo"
_RAY_S = 120.0
_TRAIN_S = 420.0
_SHOW_S = 120.0
_ATTACH_S = 60.0
_POLL_S = 0.3
_FIRST_STEPS = 20
_HANG_AT = 60
_STEP = re.compile(r"step (\d+) loss")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INSPECT = "from dsray_inspect.agent.cli import main; main()"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to start."""

    workers: int = 2
    zero: int = 2
    hang: bool = False

    def entrypoint(self, script: Path) -> str:
        hang = f" --hang-at {_HANG_AT}" if self.hang else ""
        return f"python {script} --workers {self.workers} --zero {self.zero}{hang}"


class Show:
    """One demo; everything it starts or writes is gone after its `with` block."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._plan = plan
        self._progress = progress
        self._folder: Folder | None = None
        self._op_cache: OpCache | None = None
        self._cluster: Cluster | None = None
        self._interrupted = False

    def __enter__(self) -> Show:
        check_needs(search_path())
        adopt_orphans()

        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

        # Cleaning up takes longer than the shutdown guard allows an interrupted command.
        signal.set_wakeup_fd(-1)
        return self

    def __exit__(self, *_: object) -> None:
        # Twice: the single interrupt that is delivered may abort the first.
        try:
            self._stop()
        finally:
            self._stop()

    def _on_signal(self, _number: int, _frame: object) -> None:
        """Interrupt only once: further signals must not abort the cleanup."""
        if not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt

    def _stop(self) -> None:
        self._interrupted = True
        end_all()

        if self._folder is not None:
            self._folder.remove()

        if self._op_cache is not None:
            self._op_cache.close()

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None
        return self._cluster

    @property
    def op_cache(self) -> OpCache:
        assert self._op_cache is not None
        return self._op_cache

    def start(self) -> None:
        """Start the cluster and the job; return once it trains."""
        self._folder = Folder()
        self._op_cache = OpCache()
        self._op_cache.open()
        plan = self._plan
        self._cluster = Cluster(self._folder.path, slots=plan.workers, op_cache=self._op_cache.path)

        with self._progress.stage(f"Ray with {plan.workers} GPU slots at {self.cluster.address}"):
            self.cluster.start()
            self._wait("Ray", self.cluster.dashboard.live_nodes, _RAY_S)

        script = self._folder.path / "train.py"
        shutil.copyfile(Path(__file__).with_name("job.py"), script)

        with self._progress.stage(f"Job {JOB}") as stage:
            self._wait("the job", lambda: self._submit(script), _RAY_S)
            self._wait("training", lambda: self._trains(stage), _TRAIN_S)

    def _submit(self, script: Path) -> bool:
        dashboard = self.cluster.dashboard
        accepted = dashboard.submit(JOB, self._plan.entrypoint(script))
        # A call that timed out may still have been processed.
        return accepted or dashboard.job_state(JOB) is not None

    def _trains(self, stage: Stage) -> bool:
        """Return whether the ranks train, and show what they do until then."""
        dashboard = self.cluster.dashboard
        state, log = dashboard.job_state(JOB), dashboard.job_log(JOB)

        if state in ("FAILED", "STOPPED", "SUCCEEDED"):
            raise InspectError(
                f"The demo's job ended before it trained ({state}).",
                help_text="\n  ".join(log.splitlines()[-12:]),
            )

        if any(int(step) >= _FIRST_STEPS for step in _STEP.findall(log)):
            return True

        stage.update(self._doing(state))
        return False

    def _doing(self, state: str | None) -> str:
        if state != "RUNNING":
            return "Ray is starting its driver"

        if operator := self.op_cache.compiling():
            return f"compiling {operator}, about 50 s, only the first time"

        processes = len(titled("ray::RayTrainWorker"))

        if processes < self._plan.workers:
            return "Ray Train is starting its controller and workers"

        return f"{processes} ranks are importing torch and DeepSpeed"

    def attach(self) -> Snapshot:
        """Return the snapshot of `dsray-inspect attach`, run as a user would run it."""
        done = self._attach("--json", stdout=subprocess.PIPE)

        if not done.stdout.strip():
            raise _attach_error(done)

        return msgspec.json.decode(done.stdout, type=Snapshot)

    def print_attach(self, *, color: bool) -> None:
        """Let `dsray-inspect attach` print its report to this process's stdout."""
        done = self._attach("--text", *([] if color else ["--no-color"]), stdout=None)

        if done.returncode not in (ExitCode.OK, ExitCode.FINDINGS):
            raise _attach_error(done)

    def _attach(self, *flags: str, stdout: int | None) -> subprocess.CompletedProcess[bytes]:
        argv = [sys.executable, "-c", _INSPECT, "attach", JOB, "--address", self.cluster.address]
        return subprocess.run(
            with_death_signal([*argv, *flags]),
            env=self.cluster.client_env(),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=_ATTACH_S,
            start_new_session=True,
            check=False,
        )

    def outcome(self) -> Snapshot:
        """Attach until the demo's state is visible, and return that snapshot."""
        wanted = "hung" if self._plan.hang else "healthy"
        title = "Attach until the hang is certain" if self._plan.hang else "Attach"
        deadline = time.monotonic() + _SHOW_S

        with self._progress.stage(title) as stage:
            while True:
                snapshot = self.attach()

                if snapshot.verdict.state == wanted or time.monotonic() > deadline:
                    return snapshot

                if self.cluster.has_ended():
                    raise self._cluster_died("the attach")

                stage.update(
                    _longest_idle(snapshot) if self._plan.hang else snapshot.verdict.summary
                )
                time.sleep(1)

    def keep(self) -> None:
        """Keep everything running until Ctrl-C, or until the cluster ends by itself."""
        try:
            while not self.cluster.has_ended():
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            return

        raise self._cluster_died("the demo")

    def _wait(self, what: str, probe: Callable[[], T], limit_s: float) -> T:
        deadline = time.monotonic() + limit_s

        while not (answer := probe()):
            if self.cluster.has_ended():
                raise self._cluster_died(what)

            if time.monotonic() > deadline:
                raise ClusterUnreachable(
                    f"The demo gave up waiting for {what} after {limit_s:.0f} s.",
                    help_text=self.cluster.log_end(),
                )

            time.sleep(_POLL_S)

        return answer

    def _cluster_died(self, what: str) -> ClusterUnreachable:
        return ClusterUnreachable(
            f"The demo's Ray cluster ended before {what} was done.",
            help_text=self.cluster.log_end(),
        )


def _attach_error(done: subprocess.CompletedProcess[bytes]) -> InspectError:
    said = done.stderr.decode("utf-8", "replace").strip()
    return InspectError(f"attach exited with {done.returncode}.", help_text=said)


def _longest_idle(snapshot: Snapshot) -> str:
    """Return which rank has been idle longest, while that is too short for a verdict."""
    idle = [(worker.idle_s or 0.0, worker) for worker in snapshot.workers]
    longest_s, worker = max(idle, key=lambda pair: pair[0], default=(0.0, None))

    if worker is None or worker.function is None or longest_s < 2:
        return "the ranks are still running"

    return (
        f"rank {worker.rank} has been idle in {worker.function.name} for {longest_s:.0f} s,"
        " too short for a verdict"
    )
