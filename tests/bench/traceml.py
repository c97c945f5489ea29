"""What our probe adds to a step, against what TraceML adds to the same step.

TraceML is no dependency: it is looked for beside ours, in a folder that a variable names.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from tests.bench.results import LeftOut, Result

FOLDER = "DSRAY_BENCH_TRACEML"
HOW = f"pip install --target DIR --no-deps traceml-ai, then {FOLDER}=DIR make bench ARGS=traceml"
# Behind our own packages, so that none of the folder's replaces one of them.
SERVE = """
import os, sys
sys.path += [folder for folder in [os.environ.get(sys.argv.pop(1))] if folder]
from traceml_ai.launcher.cli import main
main()
"""

NOT_OURS = 3
"""How the loop ends where TraceML fails."""
SETTLING = 130
"""Steps at the start of a block in which Python finds its attributes anew: a patch empties the
caches of its class, and each place in the code notices only after some 50 calls.
"""
STEPS = 30
"""Steps of a block after those."""
GROUP = 24
"""Rounds that make a sample: some of them find a quiet machine."""
Blocks = list[list[tuple[int, int]]]
"""Nanoseconds of CPU time and on the wall of each step of each block."""
CPU, WALL = 0, 1
FIRST, SETTLED = slice(2, 8), slice(SETTLING, None)


def added_to_a_step(repeats: int) -> list[Result]:
    """Blocks of steps of one DeepSpeed loop: bare, with our probe in, under TraceML, in turns.

    What counts is CPU time of the training thread: what a busy machine does meanwhile is not in
    it, and neither are TraceML's threads and its aggregator. Ours has none in the rank.
    """
    blocks = taken(repeats * GROUP)
    ours, theirs = (added_us(blocks, side) for side in ("ours", "theirs"))

    def both(clock: int, steps: slice) -> str:
        typical = [
            statistics.median(added_us(blocks, side, clock, steps)) for side in ("ours", "theirs")
        ]
        return "ours {:.0f} µs, TraceML {:.0f} µs".format(*typical)

    return [
        Result(
            name="what a trace adds to a step, against TraceML",
            ours="our probe, as `trace` puts it in",
            theirs='TraceML, init(mode="auto") and trace_step(engine.module)',
            unit="µs",
            our_samples=ours,
            their_samples=theirs,
            limit=0.2,
            notes=[
                f"a bare step is {statistics.median(step_us(blocks['bare'])):.0f} µs of CPU time",
                f"on the wall: {both(WALL, SETTLED)}",
                f"just after it went in, Python's caches being empty: {both(CPU, FIRST)}",
            ],
        )
    ]


def added_us(
    blocks: dict[str, Blocks], side: str, clock: int = CPU, steps: slice = SETTLED
) -> list[float]:
    """Return, for each group of rounds, what a step of a side takes more than a bare one."""
    bare = step_us(blocks["bare"], clock)
    return [a - b for a, b in zip(step_us(blocks[side], clock, steps), bare, strict=True)]


def step_us(blocks: Blocks, clock: int = CPU, steps: slice = SETTLED) -> list[float]:
    """Return a fast step of each group of rounds, the tenth of a hundred: all do the same work,
    what is more is the machine's.
    """
    groups = [blocks[first : first + GROUP] for first in range(0, len(blocks), GROUP)]
    return [
        statistics.quantiles(
            [step[clock] / 1000 for block in group for step in block[steps]], n=10
        )[0]
        for group in groups
    ]


def taken(repeats: int) -> dict[str, Blocks]:
    folder = os.environ.get(FOLDER)

    if importlib.machinery.PathFinder.find_spec("traceml_ai", [*sys.path, folder or ""]) is None:
        raise LeftOut(f"TraceML is not installed: {HOW}")

    with tempfile.TemporaryDirectory() as logs, aggregator(logs) as port:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.traceml_loop", str(repeats), str(port), logs],
            capture_output=True,
            text=True,
        )

    if done.returncode == NOT_OURS:
        raise LeftOut(
            f"TraceML did not run here, try another version of it ({HOW}): {done.stderr[-300:]}"
        )

    if done.returncode:
        raise RuntimeError(done.stderr)

    blocks: dict[str, Blocks] = json.loads(done.stdout.splitlines()[-1])
    return blocks


@contextlib.contextmanager
def aggregator(logs: str) -> Iterator[int]:
    """Run TraceML's own aggregator, as `traceml serve` does; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]

    argv = (FOLDER, "serve", "--aggregator-port", str(port), "--logs-dir", logs)
    served = subprocess.Popen(
        [sys.executable, "-c", SERVE, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    try:
        yield port
    finally:
        served.terminate()
        served.wait()
