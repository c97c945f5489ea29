"""A platform user whose jobs wait for what is no rank, or fail of it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from trip import Trip, arguments, leave_ops_uncompiled

FAULTS = {
    "none": "train on",
    "flock": "the rank waits for the lock of a file that a process of the driver holds",
    "lockf": "the same with a lock of POSIX",
    "decoder": "the rank reads a frame from a process of its own, which gives none",
    "service": "the rank reads from a connection to a process of the driver, which does not answer",
    "sink": "the rank writes to a named pipe that a process of the driver does not read any more",
    "coroutine": "the rank awaits something that never comes",
    "gather": "the rank gathers requests of which one is never answered",
    "after-fit": "the driver joins a queue that nobody empties once fit() has returned",
    "between-fits": "the driver reads from a pipe between two fit() calls",
    "crash-loop": "the rank raises at its first record, and Ray Train starts the run again and again",
    "exit-loop": "the rank ends its process at its first step, again and again",
    "taken": "an actor of the job holds the CPUs that the ranks need",
    "other-job": "a placement group of another job holds them",
    "ifname": "a variable names a network interface that is not there",
    "resume": "the second fit() of the job loads the checkpoint of one rank fewer",
    # Healthy, but scary.
    "two-fits": "the job trains twice, one after the other",
    "event-loop": "each step of the rank is a coroutine that sleeps",
}
HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
DECODER = """
import sys, time
for number, _ in enumerate(sys.stdin):
    if number == int(sys.argv[1]):
        time.sleep(3600)
    print("frame", flush=True)
"""
SERVICE = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
with connection, connection.makefile("rw") as file:
    for number, _ in enumerate(file):
        if number == int(sys.argv[1]):
            time.sleep(3600)
        print("token", file=file, flush=True)
"""
SINK = """
import sys, time
with open(sys.argv[2]) as pipe:
    print("open", flush=True)
    for number in range(int(sys.argv[1])):
        pipe.readline()
    time.sleep(3600)
"""


sources: list[Decoder | Tokenizer] = []
"""What this process asks."""


class Decoder:
    """A process that a rank asks for a frame in each step."""

    def __init__(self, last: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", DECODER, str(last)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def frame(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        return self._process.stdout.readline()


class Tokenizer:
    """A connection to a service, which a rank asks in each step."""

    def __init__(self, port: int) -> None:
        self._file = socket.create_connection(("127.0.0.1", port)).makefile("rw")

    def tokens(self) -> str:
        print("text", file=self._file, flush=True)
        return self._file.readline()


def publish_metrics(path: str) -> None:
    """Write more than a pipe holds."""
    with open(path, "w") as pipe:
        pipe.write("metrics\n" * 100_000)


class Answers:
    """Requests to a service."""

    async def one(self, late: bool) -> None:
        await (asyncio.Event().wait() if late else asyncio.sleep(0.01))

    async def all(self) -> None:
        await asyncio.gather(*(self.one(number == 1) for number in range(3)))


def engine_of() -> Any:
    import deepspeed

    leave_ops_uncompiled()
    net = torch.nn.Linear(8, 8)
    return deepspeed.initialize(
        model=net,
        model_parameters=net.parameters(),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": {"stage": 2},
            "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
        },
    )[0]


def wait_outside(trip: Trip, rank: int, step: int) -> None:
    """Wait for what the fault of this job is about, if it is due."""
    for call in ("flock", "lockf"):
        if trip.due(call, rank, step):
            with (trip.out / "cache.lock").open("r+") as file:
                getattr(fcntl, call)(file, fcntl.LOCK_EX)
    if trip.fault in ("decoder", "service"):
        ask_outside(trip, rank, step)
    if trip.due("sink", rank, step):
        publish_metrics(str(trip.out / "metrics"))
    if trip.due("coroutine", rank, step):
        asyncio.run(Answers().one(late=True))
    if trip.due("gather", rank, step):
        asyncio.run(Answers().all())
    if trip.fault == "event-loop":
        asyncio.run(asyncio.sleep(0.05))
        if (rank, step) == (trip.rank, trip.step):
            trip.broke()


def ask_outside(trip: Trip, rank: int, step: int) -> None:
    """Ask a process that is no rank, as the one rank does in each step."""
    if rank != trip.rank:
        return
    if not sources:
        port = trip.out / "port"
        sources.append(
            Decoder(trip.step) if trip.fault == "decoder" else Tokenizer(int(port.read_text()))
        )
    [source] = sources
    trip.due(trip.fault, rank, step)
    if isinstance(source, Decoder):
        source.frame()
    else:
        source.tokens()


def parse_record(line: str) -> int:
    return int(line)


def fail_at_once(trip: Trip, rank: int) -> None:
    """Fail as a run does that never gets far; the third time counts as the fault."""
    if trip.fault not in ("crash-loop", "exit-loop") or rank != trip.rank:
        return
    with (trip.out / "attempts").open("a+") as file:
        file.write(".")
        if file.tell() >= 4:
            trip.broke()
    if trip.fault == "exit-loop":
        os._exit(3)
    parse_record("header")


def train(options: dict[str, Any]) -> None:
    trip = Trip(options)
    rank = ray.train.get_context().get_world_rank()
    engine = engine_of()
    write = trip.log(rank)
    fail_at_once(trip, rank)
    if options.get("load"):
        trip.broke()
        engine.load_checkpoint(f"{options['out']}/ds")
    for step in range(options.get("steps", 10_000_000)):
        time.sleep(options["pace_s"])
        wait_outside(trip, rank, step)
        loss = engine(torch.randn(1, 8)).abs().mean()
        engine.backward(loss)
        engine.step()
        write(step, loss.item())
        if options.get("again") and step == trip.step:
            trip.broke()
    if options["fault"] == "resume":
        engine.save_checkpoint(f"{options['out']}/ds")


def fit(options: dict[str, Any], workers: int, cpus: float = 0.1) -> None:
    loops = options["fault"] in ("crash-loop", "exit-loop")
    TorchTrainer(
        train,
        train_loop_config=options,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": cpus}),
        run_config=RunConfig(
            storage_path=f"{options['out']}/storage",
            failure_config=FailureConfig(max_failures=-1 if loops else 0),
        ),
    ).fit()


@ray.remote
class Sweep:
    """Holds CPUs."""

    def ready(self) -> bool:
        return True


def hold_lock(path: Path, call: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", HOLD, str(path), call]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    return holder


def start_outside(trip: Trip) -> subprocess.Popen[str] | None:
    """Start the process of the driver that the fault of this job is about."""
    if trip.fault == "sink":
        os.mkfifo(trip.out / "metrics")
        writer = os.open(trip.out / "metrics", os.O_RDWR)  # a reader's open() waits for one
        process, _ = started(SINK, "0", str(trip.out / "metrics"))
        os.close(writer)
        return process
    if trip.fault == "service":
        process, port = started(SERVICE, str(trip.step))
        (trip.out / "port").write_text(port)
        return process
    return None


def started(script: str, *given: str) -> tuple[subprocess.Popen[str], str]:
    """Return a process, and the line that it prints when it is ready."""
    command = [sys.executable, "-c", script, *given]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline()


def publish(cards: queue.Queue[str]) -> None:
    cards.put("model card")
    cards.join()


def read_manifest(path: Path) -> bytes:
    os.mkfifo(path)
    return path.read_bytes()


OTHER_JOB = """
import ray, sys
from ray.util.placement_group import placement_group
ray.init(address="auto", log_to_driver=False)
ray.get(placement_group([{"CPU": int(sys.argv[1])}], name="nightly").ready())
print("held", flush=True)
sys.stdin.read()
"""


def almost_all_cpus() -> int:
    """Return as many as leave too few for three ranks, and some for other jobs of the suite."""
    return int(ray.cluster_resources()["CPU"]) - 2


def start_other_job() -> subprocess.Popen[bytes]:
    """Start a driver that holds CPUs; it ends with this process."""
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_JOB, str(almost_all_cpus())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    other.stdout.readline()
    return other


def main() -> None:
    options = arguments(__doc__, FAULTS)
    trip, workers, fault = Trip(options), options["workers"], options["fault"]
    cpus = 1.0 if fault in ("taken", "other-job") else 0.1
    env = {"GLOO_SOCKET_IFNAME": "ib9"} if fault == "ifname" else {}
    ray.init(runtime_env={"env_vars": env})
    outside = start_outside(trip)
    holder = hold_lock(trip.out / "cache.lock", fault) if fault in ("flock", "lockf") else None
    if fault == "taken":
        options_of_sweep = {"name": "sweep", "num_cpus": almost_all_cpus()}
        held: Any = Sweep.options(**options_of_sweep).remote()  # type: ignore[attr-defined]
        ray.get(held.ready.remote())
    other = start_other_job() if fault == "other-job" else None
    if fault in ("taken", "other-job", "ifname"):
        trip.broke()
    if fault in ("after-fit", "between-fits", "two-fits", "resume"):
        fit({**options, "steps": 10}, workers - (fault == "resume"))
    if fault == "after-fit":
        trip.broke()
        publish(queue.Queue())
    if fault == "between-fits":
        trip.broke()
        read_manifest(trip.out / "manifest")
    fit({**options, "load": fault == "resume", "again": fault == "two-fits"}, workers, cpus)
    del holder, other, outside


if __name__ == "__main__":
    main()
