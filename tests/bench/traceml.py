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
Blocks = list[list[tuple[int, int]]]
CPU, WALL = 0, 1


def added_to_a_step(repeats: int) -> list[Result]:
    """Blocks of steps of one DeepSpeed loop: bare, with our probe in, under TraceML, in turns.

    What counts is CPU time of the training thread: what a busy machine does meanwhile is not in
    it, and neither are TraceML's threads and its aggregator. Ours has none in the rank.
    """
    blocks = taken(repeats)
    bare = fastest_us(blocks["bare"], CPU)
    ours, theirs = (added_us(blocks, side, CPU) for side in ("ours", "theirs"))
    on_the_wall = [statistics.median(added_us(blocks, side, WALL)) for side in ("ours", "theirs")]
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
                f"a bare step is {statistics.median(bare):.0f} µs of CPU time",
                "on the wall: ours {:.0f} µs, TraceML {:.0f} µs".format(*on_the_wall),
            ],
        )
    ]


def added_us(blocks: dict[str, Blocks], side: str, clock: int) -> list[float]:
    """Return, for each round, the fastest step of a side less the bare one."""
    bare = fastest_us(blocks["bare"], clock)
    return [a - b for a, b in zip(fastest_us(blocks[side], clock), bare, strict=True)]


def fastest_us(blocks: Blocks, clock: int) -> list[float]:
    """Return the fastest step of each block: all do the same work, what is more is the machine's."""
    return [min(step[clock] for step in block) / 1000 for block in blocks]


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
