"""A vision user: one class that trains, ZeRO-2, batches by torch's DataLoader."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray.train
import torch
import torch.distributed as dist
from ray.train import Checkpoint, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch.utils.data import DataLoader, IterableDataset
from trip import Trip, arguments, leave_ops_uncompiled

FAULTS = {
    "none": "train on",
    "sleep": "augment sleeps",
    "deadlock": "a thread pool's task waits for a lock that its caller holds",
    "fifo": "a shard is read from a named pipe that nobody writes",
    "poll": "the rank polls for a file that never comes",
    "socket": "a metrics server takes the connection and never answers",
    "spin": "the rank's own loop never ends, and burns a core",
    "loader": "a DataLoader worker of the rank never returns",
    "stream": "a DataLoader without workers reads from a connection that says nothing",
    "frozen": "the rank stops itself by SIGSTOP",
    "slow": "the rank takes 0.5 s longer for each step",
    "full-disk": "the rank's checkpoint goes to a pipe that nobody empties",
    "upload": "the rank's checkpoint is uploaded, by ray.train.report, to a server that says nothing",
    "regex": "the rank holds its GIL in a regular expression",
    "native-gil": "the rank holds its GIL in a C call",
    # Healthy, but scary.
    "uneven": "each step takes another rank longer",
    "slow-steps": "a step takes 6 s on all ranks",
    "validation": "the rank validates for 14 s, the others wait at a barrier",
    "fetch": "the rank fetches a file of 40 MB over the network, the others wait at a barrier",
    "long-save": "the rank writes a big checkpoint for 14 s, the others wait at a barrier",
    "collect": "the garbage collector stops the rank for 4 s",
    "debugger": "a debugger stops the rank for 8 s",
    "first-batch": "the first batch takes all ranks 12 s",
    "first-step": "the first step takes all ranks 12 s of computing",
    "ends": "the job ends well",
}


class Shards(IterableDataset[torch.Tensor]):
    """Pictures; which of them break is known to the trip."""

    def __init__(self, rank: int, trip: Trip) -> None:
        self.rank = rank
        self.trip = trip

    def __iter__(self) -> Iterator[torch.Tensor]:
        if self.trip.fault == "first-batch":
            self.trip.broke()
            time.sleep(12)
        for number in range(10_000_000):
            if self.trip.due("loader", self.rank, number):
                decode_jpeg()
            if self.trip.due("stream", self.rank, number):
                silent_server().recv(1)
            yield torch.randn(8, 48)


def decode_jpeg() -> None:
    threading.Event().wait()


def silent_server() -> socket.socket:
    listening = socket.create_server(("127.0.0.1", 0))
    connection = socket.create_connection(listening.getsockname())
    keep.append(listening)
    return connection


def slow_server(seconds: float) -> socket.socket:
    """Return a connection over which 3 MB come a second."""
    connection = silent_server()
    sender, _ = keep[-1].accept()

    def send() -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            sender.sendall(bytes(300_000))
            time.sleep(0.1)
        sender.close()

    threading.Thread(target=send, daemon=True).start()
    return connection


keep: list[Any] = []


def hold_in_c() -> None:
    ctypes.PyDLL(None).sleep(3600)


def be_debugged(seconds: float) -> None:
    """Let another process attach to this one by ptrace, as gdb does, and go on after a while."""
    code = (
        "import ctypes, os, sys, time; libc = ctypes.CDLL(None, use_errno=True); "
        "pid = int(sys.argv[1]); tids = [int(t) for t in os.listdir(f'/proc/{pid}/task')]; "
        "[libc.ptrace(16, t, 0, 0) for t in tids]; time.sleep(float(sys.argv[2])); "
        "[libc.ptrace(17, t, 0, 0) for t in tids]"
    )
    subprocess.Popen([sys.executable, "-c", code, str(os.getpid()), str(seconds)])
    time.sleep(1)


class Pretrainer:
    """Trains a small network."""

    def __init__(self, options: dict[str, Any]) -> None:
        import deepspeed

        leave_ops_uncompiled()
        self.options = options
        self.trip = Trip(options)
        self.rank = ray.train.get_context().get_world_rank()
        self.lock = threading.Lock()
        net = torch.nn.Sequential(torch.nn.Linear(48, 48), torch.nn.GELU(), torch.nn.Linear(48, 48))
        self.engine, *_ = deepspeed.initialize(
            model=net,
            model_parameters=net.parameters(),
            config={
                "train_micro_batch_size_per_gpu": 8,
                "zero_optimization": {"stage": 2},
                "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
            },
        )
        workers = 1 if self.trip.fault in ("loader", "first-batch") else 0
        loader = DataLoader(Shards(self.rank, self.trip), batch_size=None, num_workers=workers)
        self.pictures = iter(loader)

    def augment(self, picture: torch.Tensor, step: int) -> torch.Tensor:
        trip, rank = self.trip, self.rank
        if trip.due("sleep", rank, step):
            time.sleep(3600)
        if trip.due("deadlock", rank, step):
            self.in_a_pool()
        if trip.due("fifo", rank, step):
            self.read_shard()
        if trip.due("poll", rank, step):
            while not os.path.exists("/nowhere/ready"):
                time.sleep(0.2)
        if trip.due("spin", rank, step):
            self.count_for_ever()
        if trip.due("regex", rank, step):
            re.match(r"(\w+\s?)+$", "word " * 30 + "!")
        if trip.due("native-gil", rank, step):
            hold_in_c()
        if trip.due("frozen", rank, step):
            os.kill(os.getpid(), signal.SIGSTOP)
        if trip.since("slow", rank, step):
            time.sleep(0.5)
        return picture + 0.01 * torch.randn_like(picture)

    def in_a_pool(self) -> None:
        def task() -> None:
            with self.lock:
                return

        with self.lock, ThreadPoolExecutor(1) as pool:
            pool.submit(task).result()

    def read_shard(self) -> None:
        path = self.trip.out / "shard.tar"
        os.mkfifo(path)
        path.read_bytes()

    def count_for_ever(self) -> None:
        number = 0
        while number >= 0:
            number += 1

    def scary(self, step: int) -> None:
        """Do what looks like a hang and is none."""
        trip, rank, fault = self.trip, self.rank, self.trip.fault
        if fault == "uneven" and step % self.options["workers"] == rank:
            time.sleep(0.4)
        if fault == "slow-steps":
            trip.broke()
            time.sleep(6)
        at_barrier = {"validation": self.validate, "long-save": self.snapshot, "fetch": self.fetch}
        if fault in at_barrier and step % 40 == trip.step:
            if trip.due(fault, rank, step) or rank == trip.rank:
                at_barrier[fault](14)
            dist.barrier()
        if trip.since("collect", rank, step) and step % 40 == trip.step % 40:
            self.collect(4)
        if trip.due("debugger", rank, step):
            be_debugged(8)
        if fault == "first-step" and step == 0:
            trip.broke()
            self.validate(12)

    def validate(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with torch.no_grad():
            while time.monotonic() < until:
                self.engine.module(torch.randn(4096, 48)).pow(2).mean().item()

    def fetch(self, seconds: float) -> None:
        with slow_server(seconds) as connection:
            while connection.recv(1 << 16):
                pass

    def snapshot(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            torch.save({"w": torch.randn(1 << 20)}, self.trip.out / "big.pt")

    def collect(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        garbage = [[number] for number in range(2_000_000)]
        while time.monotonic() < until:
            gc.collect()
        del garbage

    def report_metrics(self, step: int) -> None:
        if self.trip.due("socket", self.rank, step):
            silent_server().recv(1)

    def publish(self, step: int) -> None:
        """All ranks report, one of them with a checkpoint."""
        if self.trip.fault == "upload" and step == self.trip.step:
            mine = self.rank == self.trip.rank
            weights = Checkpoint.from_directory(str(self.trip.out)) if mine else None
            ray.train.report(
                {"step": step}, checkpoint=weights, checkpoint_upload_fn=self.to_bucket
            )

    def to_bucket(self, weights: Checkpoint, name: str) -> Checkpoint:
        self.trip.broke()
        silent_server().recv(1)
        return weights

    def save(self, step: int) -> None:
        if self.trip.due("full-disk", self.rank, step):
            path = self.trip.out / "weights.pt"
            os.mkfifo(path)
            torch.save(self.engine.module.state_dict(), path)

    def run_epoch(self) -> None:
        write = self.trip.log(self.rank)
        last = 60 if self.trip.fault == "ends" else 10_000_000
        for step in range(last):
            self.scary(step)
            picture = self.augment(next(self.pictures), step)
            time.sleep(self.options["pace_s"])
            loss = self.engine(picture).square().mean()
            self.engine.backward(loss)
            self.engine.step()
            write(step, loss.item())
            self.report_metrics(step)
            self.save(step)
            self.publish(step)
        self.trip.broke()


def pretrain(options: dict[str, Any]) -> None:
    Pretrainer(options).run_epoch()


if __name__ == "__main__":
    given = arguments(__doc__, FAULTS)
    TorchTrainer(
        pretrain,
        train_loop_config=given,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=given["workers"], resources_per_worker={"CPU": 0.1}
        ),
        run_config=RunConfig(storage_path=f"{given['out']}/storage"),
    ).fit()
