"""What a look costs, against the tools that people have: each side in turns, in one run."""

from __future__ import annotations

import os
import stat
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dsray_inspect.agent.commands._support.options import Options
from dsray_inspect.agent.handles import Candidate
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.session import Session
from tests.bench.results import Result
from tests.ray import processes, scenarios
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job

RANKS = 8
PATIENCE_S = 10.0
BARE = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False); ray.shutdown()"
SUDO = """#!/bin/sh
# `ray stack` calls sudo, which a root's container does not have.
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""


def timed_ms(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def in_turns(repeats: int, *calls: Callable[[], object]) -> list[list[float]]:
    """Return the milliseconds of each call, `repeats` times, one after the other."""
    samples: list[list[float]] = [[] for _ in calls]

    for _ in range(repeats):
        for kept, call in zip(samples, calls, strict=True):
            kept.append(timed_ms(call))

    return samples


class Attached:
    """A session on a job, as `attach` and the faces have it; use it in a `with` block."""

    def __init__(self, cluster: Cluster, job: Job) -> None:
        self.session = Session(cluster.address)
        self.ask = Options().request(None)
        self._name = job.submission_id

    def __enter__(self) -> Attached:
        self.candidate: Candidate = self.session.find(self._name)
        self.look()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.__exit__(None, None, None)

    def snapshot(self) -> Snapshot:
        return self.session.snapshot(self.candidate, self.ask)

    def look(self) -> int:
        """Take a look; returns how many ranks gave a stack."""
        snapshot = self.snapshot()
        return sum(worker.evidence.stack == "ok" for worker in snapshot.workers)

    def call_nothing(self) -> None:
        """Call into each rank as a look does, to read nothing."""
        reads, request = self.session.reads(), {"until": time.time() + PATIENCE_S}
        rows = self.candidate.actors.workers if self.candidate.actors else ()
        reads.answers({row.actor_id: reads.send(row, (), request) for row in rows}, PATIENCE_S)


def cold_attach(cluster: Cluster, repeats: int) -> Result:
    """A whole `attach --json` in a fresh process, against joining the cluster and nothing else."""
    job = scenarios.training(cluster)
    ours, theirs = in_turns(
        repeats,
        lambda: cluster.inspect("attach", job.submission_id, "--json"),
        lambda: cluster.run(sys.executable, "-c", BARE, cluster.address),
    )
    job.stop()
    return Result(
        name="cold attach",
        ours="dsray-inspect attach JOB --json",
        theirs="python -c 'import ray; ray.init(address)'",
        unit="ms",
        our_samples=ours,
        their_samples=theirs,
        limit=2.0,
    )


def warm_snapshot(cluster: Cluster, repeats: int) -> list[Result]:
    """One look at 8 ranks that wait for one another, against py-spy and `ray stack`."""
    job = scenarios.asleep_in_user_code(cluster, "--workers", str(RANKS), "--zero", "3")
    pids = list(job.pids().values())
    stack_seen: list[int] = []

    def ray_stack() -> None:
        done = cluster.run("ray", "stack", env=with_sudo(cluster))
        stack_seen.append(usable(done.stdout, pids))

    with Attached(cluster, job) as attached:
        seen: list[int] = []
        ours, in_a_row, stack = in_turns(
            repeats, lambda: seen.append(attached.look()), lambda: dump_all(pids), ray_stack
        )

    job.stop()
    ours_text = f"a warm snapshot of {RANKS} ranks, all rungs"
    notes = [f"usable stacks: ours {min(seen)}/{RANKS}, ray stack {max(stack_seen)}/{RANKS}"]
    return [
        Result(
            name="warm snapshot against py-spy",
            ours=ours_text,
            theirs=f"{RANKS} × `py-spy dump` in a row",
            unit="ms",
            our_samples=ours,
            their_samples=in_a_row,
            limit=0.7,
        ),
        Result(
            name="warm snapshot against ray stack",
            ours=ours_text,
            theirs="`ray stack`, sudo passed through",
            unit="ms",
            our_samples=ours,
            their_samples=stack,
            limit=0.3,
            notes=notes,
        ),
    ]


def dump_all(pids: list[int]) -> None:
    for pid in pids:
        py_spy(pid)


def py_spy(pid: int) -> None:
    argv = [str(processes.BIN / "py-spy"), "dump", "--pid", str(pid)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def with_sudo(cluster: Cluster) -> dict[str, str]:
    """Return a PATH on which a `sudo` passes its command through."""
    folder = cluster.dir / "sudo"
    folder.mkdir(exist_ok=True)
    program = folder / "sudo"
    program.write_text(SUDO)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:{cluster.env['PATH']}"}


def usable(text: str, pids: list[int]) -> int:
    """Return of how many ranks the text shows the user's function."""
    parts = text.split("Process ")
    return sum(
        any(part.startswith(f"{pid}:") and "teach (" in part for part in parts) for pid in pids
    )


def longest_pause(_cluster: Cluster, repeats: int) -> Result:
    """What the rank itself notices: the longest gap in a loop of its training thread.

    The loop has a CPU of its own, as a rank should: a gap is then a pause, not a turn of
    somebody else on the CPU.
    """
    cpus = os.sched_getaffinity(0)
    own = max(cpus)
    os.sched_setaffinity(0, cpus - {own})

    try:
        with Cluster(num_cpus=1, num_gpus=0) as cluster:
            return pauses_on(cluster, own, repeats)
    finally:
        os.sched_setaffinity(0, cpus)


def pauses_on(cluster: Cluster, cpu: int, repeats: int) -> Result:
    job = cluster.submit("--cpu", str(cpu), script="ticker.py")
    gaps = job.out / "gaps0.log"
    job.wait_for("the rank ticks", lambda: gaps.exists())
    pid = job.actors()[0].pid
    ours: list[float] = []
    theirs: list[float] = []
    empty: list[float] = []
    undisturbed: list[float] = []

    with Attached(cluster, job) as attached:
        for _ in range(repeats):
            ours.append(longest_gap_ms(gaps, attached.look))
            theirs.append(longest_gap_ms(gaps, lambda: py_spy(pid)))
            empty.append(longest_gap_ms(gaps, attached.call_nothing))
            undisturbed.append(longest_gap_ms(gaps, lambda: time.sleep(0.05)))

    job.stop()
    floor, quiet = statistics.median(empty), statistics.median(undisturbed)
    return Result(
        name="longest pause of a rank",
        ours="a default snapshot",
        theirs="`py-spy dump`",
        unit="ms",
        our_samples=ours,
        their_samples=theirs,
        limit=0.2,
        notes=[
            f"a call of Ray's into the rank that does nothing pauses it for {floor:.1f} ms",
            f"with nobody looking, the median of the longest gaps is {quiet:.1f} ms",
        ],
    )


def longest_gap_ms(log: Path, call: Callable[[], object]) -> float:
    """Return the longest gap in the rank's loop that ended while the call ran, 0 for none."""
    started = time.time()
    call()
    ended = time.time()
    time.sleep(0.05)  # a gap is written down when it is over
    rows = [line.split() for line in log.read_text().split("\n")[:-1]]
    return max((float(gap) for at, gap in rows if started <= float(at) <= ended + 0.02), default=0)


def throughput(cluster: Cluster, repeats: int) -> Result:
    """Steps of a training job in windows with a look a second, and in windows without."""
    job = scenarios.training(cluster)
    ours: list[float] = []
    theirs: list[float] = []

    with Attached(cluster, job) as attached:
        for _ in range(repeats):
            ours.append(steps_per_s(job, attached.look))
            theirs.append(steps_per_s(job, None))

    job.stop()
    return Result(
        name="throughput of the job",
        ours="steps/s while a snapshot is taken every second",
        theirs="steps/s while nobody is attached",
        unit="/s",
        our_samples=ours,
        their_samples=theirs,
        limit=0.99,
        better="higher",
    )


def steps_per_s(job: Job, look: Callable[[], object] | None, window_s: int = 5) -> float:
    started = time.time()

    for second in range(window_s):
        if look is not None:
            look()
        time.sleep(max(0.0, started + second + 1 - time.time()))

    ended = time.time()
    return sum(started <= row.at < ended for row in job.steps(0)) / (ended - started)


def prepare(cluster: Cluster) -> None:
    """Let sessions in this process join the cluster as its own commands do."""
    os.environ.update({name: cluster.env[name] for name in ("HOME", "RAY_AUTH_MODE")})
