"""What a trace costs the job: one record, and a step of a real job with the probe in."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time

from tests.bench.attach import Attached
from tests.bench.results import Result
from tests.ray import scenarios
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job

WINDOW_S = 5.0
EDGE_S = 0.3
"""Left out at both ends of a window, where the probe comes and goes."""

RECORDS = """
import gc, json, sys, tempfile, time
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.probe import Probe
from dsray_inspect.agent.probes.ring import Ring
from dsray_inspect.agent.probes.targets import Target

CALLS = 4000

class Bare:
    def __init__(self):
        self.global_steps = self.micro_steps = 3

    def forward(self, batch):
        return batch

class Probed(Bare):
    def forward(self, batch):
        return batch

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
tracer = provider.get_tracer("bench")
probe = Probe(Ring())
probe.hold(1, 3600)
probe.put_in((Target("__main__", "Probed", "forward", wire.FORWARD, of_engine=True),))
bare, probed = Bare(), Probed()

def calls_bare():
    forward = bare.forward
    for _ in range(CALLS):
        forward(1)

def calls_probed():
    forward = probed.forward
    for _ in range(CALLS):
        forward(1)

def spans():
    for _ in range(CALLS):
        with tracer.start_as_current_span("forward") as span:
            span.set_attribute("dsray.step.global", 3)

def per_call_ns(call):
    started = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - started) / CALLS

ours, theirs = [], []
gc.disable()

for _ in range(int(sys.argv[1])):
    without = per_call_ns(calls_bare)
    ours.append(per_call_ns(calls_probed) - without)
    theirs.append(per_call_ns(spans))

probe.take_out()
print(json.dumps([ours, theirs]))
"""


def record(_cluster: Cluster, repeats: int) -> Result:
    """One record, without the call that it is of, against one span of OpenTelemetry's SDK.

    CPU time of the calling thread: what a busy machine does meanwhile is not in it.
    """
    done = subprocess.run(
        [sys.executable, "-c", RECORDS, str(repeats)], check=True, capture_output=True, text=True
    )
    ours, theirs = json.loads(done.stdout)
    return Result(
        name="a record of the probe",
        ours="what the wrapper adds to a call",
        theirs="start and end of a span with one attribute, batch processor",
        unit="ns",
        our_samples=ours,
        their_samples=theirs,
        limit=0.05,
    )


def traced_step(cluster: Cluster, repeats: int) -> Result:
    """Steps of 20 ms and more, in windows with the probe in and without, in turns."""
    return paired(cluster, repeats, "0.02", limit=1.005)


def traced_short_step(cluster: Cluster, repeats: int) -> Result:
    """Steps as short as they get."""
    return paired(cluster, repeats, "0", limit=1.05)


def paired(cluster: Cluster, repeats: int, sleep_s: str, *, limit: float) -> Result:
    job = scenarios.training(cluster, "--step-sleep-s", sleep_s)
    on: list[float] = []
    off: list[float] = []

    with Attached(cluster, job) as attached:
        snapshot = attached.snapshot()

        for _ in range(repeats):
            off.append(median_step_ms(job, lambda: time.sleep(WINDOW_S)))
            on.append(
                median_step_ms(
                    job,
                    lambda: attached.session.trace(
                        attached.candidate, snapshot, seconds=WINDOW_S, ask=attached.ask
                    ),
                )
            )

    job.stop()
    added = (statistics.median(on) - statistics.median(off)) * 1000
    return Result(
        name=f"a step of {statistics.median(off):.0f} ms while it is traced",
        ours="the median step while a trace runs",
        theirs="the median step while none does",
        unit="ms",
        our_samples=on,
        their_samples=off,
        limit=limit,
        notes=[f"a trace adds {added:.0f} µs to a step"],
    )


def median_step_ms(job: Job, call: object) -> float:
    """Return the median time between two lines of rank 0's log, while the call runs."""
    started = time.time() + EDGE_S
    assert callable(call)
    call()
    ended = time.time() - EDGE_S
    at = [row.at for row in job.steps(0) if started <= row.at <= ended]
    return statistics.median((b - a) * 1000 for a, b in itertools.pairwise(at))
