"""What the node agent takes of a node with 8 ranks, at the rates that `serve` and the TUI look at.

There is an agent only on a node that is not the looker's own: two hosts, the ranks on one, the
looker on the other.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from dsray_inspect.agent.commands import attach, serve
from tests.bench.results import LeftOut, Result
from tests.ray import processes
from tests.ray.hosts import Host, TwoHosts, why_not
from tests.ray.jobs import Job

RANKS = 8
WINDOW_S = 10.0
SETTLE_S = 10.0
"""So long its start, 0.7 s of imports, is left behind."""
STEP_S = "0.5"
"""Long steps: eight ranks on a small machine leave the agent a CPU to run on."""
CPU_PERCENT = 1.0
PSS_MB = 250.0
RATES = {
    serve.EVERY_S: ("serve", "--listen", "127.0.0.1:0"),
    attach.EVERY_S: ("attach", "--follow"),
}
"""What looks at its default rate: `serve`, and the reader of the TUI."""


def budget(repeats: int) -> list[Result]:
    if reason := why_not():
        raise LeftOut(f"It takes two hosts: {reason}.")

    with TwoHosts(num_gpus=RANKS) as hosts:
        job = hosts.submit("--workers", str(RANKS), "--gpus", "1", "--step-sleep-s", STEP_S)

        for rank in range(RANKS):
            job.wait_until_step(rank, 2, timeout=4 * processes.START_LIMIT_S)

        (node_id,) = {actor.node_id for actor in job.actors() if actor.pid in job.pids().values()}
        home = hosts.host_of(node_id)
        other = hosts.b if home is hosts.a else hosts.a
        results = []

        for every_s, command in RATES.items():
            with looking(hosts, other, job, *command):
                results += at_rate(home, repeats, every_s=every_s, command=command[0])

            hosts.wait_until_gone("NodeAgent")

        job.stop()
        return results


@contextlib.contextmanager
def looking(hosts: TwoHosts, on: Host, job: Job, command: str, *args: str) -> Iterator[None]:
    argv = ("dsray-inspect", command, job.submission_id, "--address", hosts.address, *args)
    looker = subprocess.Popen(
        on.inside(*argv),
        env=on.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    try:
        yield
    finally:
        for inside in psutil.Process(looker.pid).children():  # nsenter only waits for it
            inside.terminate()

        looker.wait()


def at_rate(home: Host, repeats: int, *, every_s: float, command: str) -> list[Result]:
    """Return both costs at one rate, a sample a window."""
    processes.wait_for("a node agent", lambda: agents_of(home), timeout=120)
    time.sleep(SETTLE_S)
    shares, sizes = [], []

    for _ in range(repeats):
        # One that a crowded node kept from answering has been replaced.
        agents = processes.wait_for("a node agent", lambda: agents_of(home), timeout=120)
        used, began = cpu_s(agents), time.monotonic()
        time.sleep(WINDOW_S)
        shares.append(100 * (cpu_s(agents) - used) / (time.monotonic() - began))
        sizes.append(sum(pss_mb(agent.pid) for agent in agents))

    what = f"the node agent of {RANKS} ranks, a look every {every_s:g} s (`{command}`)"

    def held(name: str, unit: str, samples: list[float], most: float) -> Result:
        return Result(
            name=f"{name} of the node agent under {command}",
            ours=what,
            theirs="the budget of a node",
            unit=unit,
            our_samples=samples,
            their_samples=[most],
            limit=1.0,
        )

    return [
        held("CPU", "% of a core", shares, CPU_PERCENT),
        held("PSS", "MB", sizes, PSS_MB),
    ]


def agents_of(host: Host) -> list[psutil.Process]:
    found = []

    # `ray start` has entered the host: it is no child of the host's first process.
    for process in psutil.Process(host.ray.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found += [process] if process.cmdline()[0].startswith("ray::NodeAgent") else []

    return found


def cpu_s(agents: list[psutil.Process]) -> float:
    return sum(sum(agent.cpu_times()[:2]) for agent in agents)


def pss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB$", text, re.MULTILINE)
    assert found
    return int(found[1]) * 1024 / 1e6
