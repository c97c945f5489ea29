"""What the terminal UI costs: until the first useful screen, at ten thousand ranks, and over time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import multiprocessing
import os
import pty
import statistics
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from fcntl import ioctl
from pathlib import Path
from typing import Any

import msgspec
import psutil
from textual._compositor import CompositorUpdate
from textual.screen import Screen

from dsray_inspect.agent.delta_codec import Writer
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.recording import events_of
from dsray_inspect.tui.app import InspectApp
from dsray_inspect.tui.messages import EventsArrived
from dsray_inspect.tui.source import Post
from dsray_inspect.tui.widgets.rows import Rows
from tests.bench.attach import in_turns
from tests.bench.results import Result
from tests.ray import scenarios
from tests.ray.cluster import Cluster
from tests.tui.histories import many
from tests.tui.terminal import press

RANKS = 10_000
HZ = 2.0
KEYS = ("j", "k", "f", "o", "t", "o", "c", "o", "w", "o", "e", "o", "G", "g")
"""Each of them changes the view or moves the cursor."""
MIB = 1 << 20
SIZE = (120, 40)
FILL = 1300
"""More looks than the window holds."""


def first_screen(cluster: Cluster, repeats: int) -> Result:
    """A fresh `attach` on a terminal until its verdict stands there, against a whole `--json`."""
    job = scenarios.asleep_in_user_code(cluster)
    argv = ("dsray-inspect", "attach", "--address", cluster.address, job.submission_id)
    ours, theirs = in_turns(
        repeats,
        lambda: until_shown(argv, cluster.env, b"BLOCKED"),
        lambda: cluster.run(*argv, "--json"),
    )
    job.stop()
    return Result(
        name="first useful screen",
        ours="dsray-inspect attach JOB on a terminal, until the culprit is shown",
        theirs="dsray-inspect attach JOB --json, as a whole",
        unit="ms",
        our_samples=ours,
        their_samples=theirs,
        limit=1.3,
    )


def until_shown(argv: tuple[str, ...], env: Mapping[str, str], text: bytes) -> None:
    """Run a command on a terminal of its own until it has drawn a text, then close that."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = subprocess.Popen(
        argv,
        env={**env, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    drawn = b""

    with contextlib.suppress(OSError):
        while text not in drawn:
            drawn += os.read(ours, 65536)

    # Its end is not part of what is measured.
    threading.Thread(target=end, args=(command, ours)).start()


def end(command: subprocess.Popen[bytes], terminal: int) -> None:
    command.terminate()

    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass

    command.wait()
    os.close(terminal)


class Watched(InspectApp):
    """Remembers where the user was when it last drew."""

    CSS_PATH = str(Path(inspect.getfile(InspectApp)).with_name("app.tcss"))
    drawn: tuple[str, int] | None = None

    def _display(self, screen: Screen[object], renderable: Any) -> None:
        super()._display(screen, renderable)

        if isinstance(renderable, CompositorUpdate):
            # Without a terminal Textual leaves this out.
            renderable.render_segments(self.console)

            if screen is self.screen:
                self.drawn = standing(self)


class Emulated:
    """A source that tells of many ranks at a steady rate, in the lines of a reader."""

    is_live = True
    label = f"live {HZ:g} Hz"

    def __init__(self, ranks: int, *, hz: float = HZ) -> None:
        self._ranks = ranks
        self._rest_s = 1 / hz
        self._stopped = threading.Event()
        self.told = 0
        self.bytes = 0

    def run(self, post: Post) -> None:
        for event in events_of(self._lines()):
            post(EventsArrived((event,)))

    def _lines(self) -> Iterator[bytes]:
        for line in lines_of(self._ranks):
            if self._stopped.is_set():
                return

            started = time.monotonic()
            yield line
            self.told, self.bytes = self.told + 1, len(line)
            self._stopped.wait(max(0.0, self._rest_s - (time.monotonic() - started)))

    def ask(self, *_words: str) -> tuple[str, str]:
        return "", ""

    def close(self) -> None:
        self._stopped.set()


class Quiet(Emulated):
    """One that leaves it to others to tell."""

    def run(self, post: Post) -> None:
        pass


def lines_of(ranks: int) -> Iterator[bytes]:
    """Yield the lines of two looks in turns, the first one whole."""
    writer, looks = Writer(), [changed(ranks, number) for number in range(2)]
    yield writer.line(looks[0])
    yield from itertools.cycle([writer.line(looks[1]), writer.line(looks[0])])


def changed(ranks: int, number: int) -> Snapshot:
    """Return a look at a hung job in which every rank's times are others than in the one before."""
    base = many(ranks, blamed=(4711 % ranks, 17))
    workers = tuple(
        msgspec.structs.replace(worker, idle_s=(worker.idle_s or 0.0) + number * 0.5)
        for worker in base.workers
    )
    return msgspec.structs.replace(base, workers=workers, taken_at=base.taken_at + number * 0.5)


def ten_thousand_ranks(_cluster: Cluster, repeats: int) -> Result:
    """Keys pressed while 10,000 ranks arrive twice a second, until the screen has answered."""
    source = Emulated(RANKS)
    now = changed(1, 1).taken_at
    # As late as the looks are: a view whose looks are old counts their age up.
    app = Watched(source, "emulated", clock=lambda: now)
    latencies, busy = asyncio.run(press_keys(app, source, repeats))
    p95 = statistics.quantiles(latencies, n=20)[-1]
    return Result(
        name="key to screen at 10,000 ranks, p95",
        ours=f"a key pressed until it is drawn, {RANKS:,} ranks at {HZ:g} Hz",
        theirs="what is felt as at once",
        unit="ms",
        our_samples=[p95],
        their_samples=[100.0],
        limit=1.0,
        notes=[keys_text(latencies), cpu_text(busy, source)],
    )


def keys_text(latencies: list[float]) -> str:
    median, longest = statistics.median(latencies), max(latencies)
    return f"median {median:.0f} ms of {len(latencies)} keys, longest {longest:.0f} ms"


def cpu_text(busy: float, source: Emulated) -> str:
    size = source.bytes / 1024
    return (
        f"CPU {busy * 100:.0f} % of one core, for {source.told} looks of {size:.0f} KiB of changes"
    )


async def press_keys(app: Watched, source: Emulated, repeats: int) -> tuple[list[float], float]:
    """Return the milliseconds that each key took, and the part of a core that all of it took."""
    process, latencies = psutil.Process(), []

    # Not `screen.shown`, which waits for an idle process: here that never comes.
    async with app.run_test(size=SIZE):
        while not app.has_shown:
            await asyncio.sleep(0.1)

        used, began = sum(process.cpu_times()[:2]), time.monotonic()

        for _ in range(repeats):
            for key in KEYS:
                latencies.append(await latency_ms(app, key))
                await asyncio.sleep(0.13)

        busy = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began)
        source.close()

    return latencies, busy


async def latency_ms(app: Watched, key: str) -> float:
    """Return how long a key takes until what it has changed is drawn."""
    before, started = standing(app), time.perf_counter()
    app.simulate_key(key)

    while app.drawn in (None, before):
        await asyncio.sleep(0.001)

    return (time.perf_counter() - started) * 1000


def standing(app: InspectApp) -> tuple[str, int]:
    """Return where the user is: the view, and the row of its cursor."""
    rows = app.screen.query("#rows").results(Rows)
    return app.view_name, next((row.cursor for row in rows), -1)


def memory(_cluster: Cluster, repeats: int) -> Result:
    """Memory once the window is full, against the same a stretch of looks later."""
    # In a process of its own: what another bench has left here would hide what grows.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        before, after = pool.apply(growth, (repeats,))

    return Result(
        name="memory over time",
        ours="memory at the end of the stretch",
        theirs="memory once the window is full",
        unit="MiB",
        our_samples=[after],
        their_samples=[before],
        limit=1.03,
        notes=[
            f"{repeats} looks at 64 ranks after the window was full, as in {repeats / HZ / 60:.0f} min"
        ],
    )


def growth(repeats: int) -> tuple[float, float]:
    """Feed looks as fast as the app takes them; returns MiB with a full window and at the end."""
    return asyncio.run(grown(repeats))


async def grown(repeats: int) -> tuple[float, float]:
    app = InspectApp(Quiet(64), "emulated")
    process = psutil.Process()

    async with app.run_test(size=SIZE) as pilot:
        for number, event in enumerate(events_of(lines_of(64))):
            app.post_message(EventsArrived((event,)))

            if number % 10 == 0:
                await asyncio.sleep(0.02)

            if number == FILL:
                # A view that is opened for the first time is no growth.
                await press(pilot, "t", "o")
                before = resident(process)
            elif number == FILL + repeats:
                break

        await press(pilot, "t", "o")
        return before, resident(process)


def resident(process: psutil.Process) -> float:
    """Return the memory in MiB, without what only waits for the app's next collection."""
    gc.collect()
    return float(process.memory_info().rss / MIB)
