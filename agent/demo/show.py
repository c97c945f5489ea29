"""The demo from its first process to its last: start, train, look, and leave nothing behind."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from dsray_inspect.agent.demo.cluster import Cluster, search_path
from dsray_inspect.agent.demo.descendants import adopt_orphans, end_all, on_leash, titled
from dsray_inspect.agent.demo.folder import Folder, OpCache
from dsray_inspect.agent.demo.needs import check_needs
from dsray_inspect.agent.demo.progress import Progress, Stage
from dsray_inspect.agent.errors import ClusterUnreachable, ExitCode, InspectError
from dsray_inspect.agent.model import Snapshot

T = TypeVar("T")

JOB = "demo"
RAY_S = 120.0
TRAIN_S = 420.0
SHOW_S = 120.0
LOOK_S = 60.0
POLL_S = 0.3
FIRST_STEPS = 20
HANG_AT = 60
STEP = re.compile(r"step (\d+) loss")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INSPECT = "from dsray_inspect.agent.cli import main; main()"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to start."""

    workers: int = 2
    zero: int = 2
    hang: bool = False

    def entrypoint(self, script: Path) -> str:
        hang = f" --hang-at {HANG_AT}" if self.hang else ""
        return f"python {script} --workers {self.workers} --zero {self.zero}{hang}"


class Show:
    """One demo; everything it starts or writes ends with its `with` block."""

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

        for number in SIGNALS:
            signal.signal(number, self._on_signal)

        # Cleaning up takes longer than a command is given that was told to end.
        signal.set_wakeup_fd(-1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Twice: the one interrupt there can be may fall into the first.
        try:
            self._stop()
        finally:
            self._stop()

    def _on_signal(self, _number: int, _frame: object) -> None:
        """Interrupt once; whoever is impatient does not keep us from cleaning up."""
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
        """Start the cluster and the job, and return when it trains."""
        self._folder = Folder()
        self._op_cache = OpCache()
        self._op_cache.open()
        plan = self._plan
        self._cluster = Cluster(self._folder.path, slots=plan.workers, op_cache=self._op_cache.path)

        with self._progress.stage(f"Ray with {plan.workers} GPU slots at {self.cluster.address}"):
            self.cluster.start()
            self._wait("Ray", self.cluster.dashboard.living_nodes, RAY_S)

        script = self._folder.path / "train.py"
        shutil.copyfile(Path(__file__).with_name("job.py"), script)

        with self._progress.stage(f"Job {JOB}") as stage:
            self._wait("the job", lambda: self._submit(script), RAY_S)
            self._wait("training", lambda: self._trains(stage), TRAIN_S)

    def _submit(self, script: Path) -> bool:
        dashboard = self.cluster.dashboard
        taken = dashboard.submit(JOB, self._plan.entrypoint(script))
        # A call that timed out may have been heard.
        return taken or dashboard.job_state(JOB) is not None

    def _trains(self, stage: Stage) -> bool:
        """Return whether the ranks train, and tell what they do until then."""
        dashboard = self.cluster.dashboard
        state, log = dashboard.job_state(JOB), dashboard.job_log(JOB)

        if state in ("FAILED", "STOPPED", "SUCCEEDED"):
            raise InspectError(
                f"The demo's job ended before it trained ({state}).",
                help_text="\n  ".join(log.splitlines()[-12:]),
            )

        if any(int(step) >= FIRST_STEPS for step in STEP.findall(log)):
            return True

        stage.tell(self._doing(state))
        return False

    def _doing(self, state: str | None) -> str:
        if state != "RUNNING":
            return "Ray starts its driver"

        if operator := self.op_cache.compiling():
            return f"compiling {operator}, about 50 s, the first time only"

        processes = len(titled("ray::RayTrainWorker"))

        if processes < self._plan.workers:
            return "Ray Train starts its controller and its workers"

        return f"{processes} ranks load torch and DeepSpeed"

    def look(self) -> Snapshot:
        """Return what `dsray-inspect attach` sees, run as a user would run it."""
        done = self._attach("--json", stdout=subprocess.PIPE)

        if not done.stdout.strip():
            raise refusal(done)

        return msgspec.json.decode(done.stdout, type=Snapshot)

    def print_look(self, *, color: bool) -> None:
        """Let `dsray-inspect attach` print what it sees to this process's own stdout."""
        done = self._attach("--text", *([] if color else ["--no-color"]), stdout=None)

        if done.returncode not in (ExitCode.OK, ExitCode.FINDINGS):
            raise refusal(done)

    def _attach(self, *flags: str, stdout: int | None) -> subprocess.CompletedProcess[bytes]:
        argv = [sys.executable, "-c", INSPECT, "attach", JOB, "--address", self.cluster.address]
        return subprocess.run(
            on_leash([*argv, *flags]),
            env=self.cluster.client_env(),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=LOOK_S,
            start_new_session=True,
            check=False,
        )

    def outcome(self) -> Snapshot:
        """Look until what the demo is about can be seen, and return that look."""
        wanted = "hung" if self._plan.hang else "healthy"
        title = "Attach until the stall is beyond doubt" if self._plan.hang else "Attach"
        deadline = time.monotonic() + SHOW_S

        with self._progress.stage(title) as stage:
            while True:
                snapshot = self.look()

                if snapshot.verdict.state == wanted or time.monotonic() > deadline:
                    return snapshot

                if self.cluster.ended():
                    raise self._dead("the look")

                stage.tell(standing(snapshot) if self._plan.hang else snapshot.verdict.summary)
                time.sleep(1)

    def keep(self) -> None:
        """Leave all as it is until Ctrl-C, or until the cluster ends by itself."""
        try:
            while not self.cluster.ended():
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            return

        raise self._dead("the demo")

    def _wait(self, what: str, probe: Callable[[], T], limit_s: float) -> T:
        deadline = time.monotonic() + limit_s

        while not (answer := probe()):
            if self.cluster.ended():
                raise self._dead(what)

            if time.monotonic() > deadline:
                raise ClusterUnreachable(
                    f"The demo waited {limit_s:.0f} s for {what} in vain.",
                    help_text=self.cluster.last_words(),
                )

            time.sleep(POLL_S)

        return answer

    def _dead(self, what: str) -> ClusterUnreachable:
        return ClusterUnreachable(
            f"The demo's Ray cluster ended before {what} did.",
            help_text=self.cluster.last_words(),
        )


def refusal(done: subprocess.CompletedProcess[bytes]) -> InspectError:
    said = done.stderr.decode("utf-8", "replace").strip()
    return InspectError(f"attach exited with {done.returncode}.", help_text=said)


def standing(snapshot: Snapshot) -> str:
    """Return who stands where while a stall is too short to be called one."""
    idle = [(worker.idle_s or 0.0, worker) for worker in snapshot.workers]
    longest_s, worker = max(idle, key=lambda pair: pair[0], default=(0.0, None))

    if worker is None or worker.function is None or longest_s < 2:
        return "the ranks still move"

    return f"rank {worker.rank} stands in {worker.function.name}; too short yet to be a stall"
