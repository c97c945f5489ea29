"""What a sample of a real run costs as its ranks become more: wall clock, and CPU of all who take part.

The run hangs, so that its own work does not count: what ranks, Ray and the attached process use of
a CPU meanwhile is what the sample took, less what Ray takes without one.
"""

from __future__ import annotations

import contextlib
import glob
import statistics
import time
from typing import NamedTuple

from tests.bench.attach import Attached, timed_ms
from tests.bench.results import Result
from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job

SIZES = (4, 16, 40)
START_S = 600.0
FAULT_STEP = 30


class Cost(NamedTuple):
    """One sample of a run of `ranks`."""

    ranks: int
    wall_s: float
    own_cpu_s: float
    """Of the attached process."""
    other_cpu_s: float
    """Of ranks, node readers and Ray's own processes, less what they use when nobody looks."""

    @property
    def cpu_ms_a_rank(self) -> float:
        return 1000 * (self.own_cpu_s + self.other_cpu_s) / self.ranks


def real_ranks(repeats: int) -> list[Result]:
    """Compare the cost of a rank in runs of 4, 16 and 40."""
    costs = {size: costs_of(size, repeats) for size in SIZES}
    smallest, largest = SIZES[0], SIZES[-1]
    return [
        Result(
            name=f"CPU of a warm sample, a rank of {largest} against a rank of {smallest}",
            ours=f"a rank of {largest}",
            theirs=f"a rank of {smallest}",
            unit="ms",
            our_samples=[cost.cpu_ms_a_rank for cost in costs[largest]],
            their_samples=[cost.cpu_ms_a_rank for cost in costs[smallest]],
            limit=1.0,
            notes=[text_of(size, costs[size]) for size in SIZES],
        )
    ]


def text_of(size: int, costs: list[Cost]) -> str:
    wall_s = statistics.median(cost.wall_s for cost in costs)
    own_s = statistics.median(cost.own_cpu_s for cost in costs)
    other_s = statistics.median(cost.other_cpu_s for cost in costs)
    return (
        f"{size} ranks: {wall_s * 1000:.0f} ms wall; CPU a rank: "
        f"{own_s * 1000 / size:.2f} ms attached process, {other_s * 1000 / size:.2f} ms others"
    )


def costs_of(ranks: int, repeats: int) -> list[Cost]:
    with Cluster(num_cpus=8, num_gpus=0, warm=True) as cluster:
        job = hung(cluster, ranks)

        with Attached(cluster, job) as attached:
            attached.look()
            found = [cost_of(cluster, attached, ranks) for _ in range(repeats)]

        cold_ms = [
            timed_ms(lambda: cluster.inspect("attach", job.submission_id, "--json"))
            for _ in range(3)
        ]
        print(f"    {ranks} ranks: cold attach --json {statistics.median(cold_ms):.0f} ms")
        job.stop()

    return found


def hung(cluster: Cluster, ranks: int) -> Job:
    """Start a run in which all ranks wait for one, and wait until they do."""
    arguments = ("--workers", str(ranks), "--fault-step", str(FAULT_STEP))
    job = cluster.submit(*arguments, script="plain.py")
    job.wait_until_stuck(after_step=FAULT_STEP - 1, ranks=ranks, timeout=START_S)
    return job


def cost_of(cluster: Cluster, attached: Attached, ranks: int) -> Cost:
    """Take a sample; what the cluster uses in as long a time without one is taken off."""
    before = used(cluster)
    own_before_s, started = time.process_time(), time.perf_counter()
    seen = attached.look()
    wall_s, own_s = time.perf_counter() - started, time.process_time() - own_before_s
    time.sleep(0.5)  # what Ray has to clean up belongs to the sample
    with_s = used(cluster) - before
    span_s = time.perf_counter() - started
    before = used(cluster)
    time.sleep(span_s)
    idle_s = used(cluster) - before
    assert seen == ranks, f"{seen} of {ranks} ranks gave a stack"
    return Cost(ranks=ranks, wall_s=wall_s, own_cpu_s=own_s, other_cpu_s=max(0.0, with_s - idle_s))


def used(cluster: Cluster) -> float:
    """Return the CPU seconds of the cluster's processes so far, from their threads' `schedstat`."""
    spent_ns = 0

    for process in processes.with_mark(cluster.mark):
        for path in glob.glob(f"/proc/{process.pid}/task/*/schedstat"):
            with contextlib.suppress(OSError), open(path) as file:
                spent_ns += int(file.read().split()[0])

    return spent_ns / 1e9
