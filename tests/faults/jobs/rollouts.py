"""A reinforcement-learning user: learners that get their batches from actors and report metrics."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from trip import Trip, arguments, leave_ops_uncompiled

FAULTS = {
    "none": "train on",
    "actor-get": "the rank gets from an actor that never returns",
    "task-pending": "the rank gets from a task that no node can run",
    "report-alone": "the rank alone reports; the others train on",
    "report-skip": "all report but the rank, which trains on",
    "report-blocked": "all report but the rank, which sleeps before it does",
    "sigkill": "the rank is killed",
    "segv": "the rank's process crashes in native code",
    "exit": "the rank's process ends by os._exit",
    "oom": "the rank runs over its memory limit and the kernel kills it (needs a memory cgroup)",
    "squeeze": "the rank fills its memory limit to the brim (needs a memory cgroup)",
    "spill": "the rank keeps more objects than the object store can hold",
    # Healthy, but scary.
    "big-get": "the rank gets 150 MB from an actor that takes 10 s to make it",
    "restart": "the rank is killed once, and the restarted group trains on",
    "reports": "all ranks report now and then",
}
LIMIT_BYTES = 700 << 20


@ray.remote(num_cpus=0)
class Env:
    """Plays."""

    def rollout(self) -> Any:
        return np.random.rand(4, 24).astype("float32")

    def stuck_rollout(self) -> Any:
        while True:
            time.sleep(60)

    def big_rollout(self) -> Any:
        made, until = np.zeros(150 << 20, dtype="uint8"), time.monotonic() + 10
        while time.monotonic() < until:
            made[: 1 << 20] = np.random.randint(0, 255, 1 << 20, dtype="uint8")
        return made


@ray.remote(num_cpus=4000)
def score(batch: Any) -> float:
    return float(batch.mean())


def limit_memory(limit_bytes: int) -> None:
    """Put this process under a memory limit of its own, as a pod has one."""
    with open("/proc/self/cgroup") as file:
        own = next(line for line in file if ":memory:" in line or line.startswith("0::"))
    path = own.rstrip().rpartition(":")[2]
    version_1 = ":memory:" in own
    root = "/sys/fs/cgroup/memory" if version_1 else "/sys/fs/cgroup"
    group = f"{root}{path}/dsray-t-{os.getpid()}"
    os.mkdir(group)
    name = "memory.limit_in_bytes" if version_1 else "memory.max"
    for part, text in ((name, str(limit_bytes)), ("cgroup.procs", str(os.getpid()))):
        with open(f"{group}/{part}", "w") as opened:
            opened.write(text)


def hoard(until_bytes: int) -> list[Any]:
    held = []
    while resident_bytes() < until_bytes:
        held.append(np.ones(1 << 20, dtype="uint8"))
    return held


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Learner:
    """One rank."""

    def __init__(self, options: dict[str, Any]) -> None:
        import deepspeed

        leave_ops_uncompiled()
        self.trip = Trip(options)
        self.rank = ray.train.get_context().get_world_rank()
        self.pace_s = options["pace_s"]
        self.env: Any = Env.remote()  # type: ignore[attr-defined]
        self.kept: list[Any] = []
        policy = torch.nn.Linear(24, 24)
        self.engine, *_ = deepspeed.initialize(
            model=policy,
            model_parameters=policy.parameters(),
            config={
                "train_micro_batch_size_per_gpu": 4,
                "zero_optimization": {"stage": 1},
                "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
            },
        )

    def experience(self, step: int) -> torch.Tensor:
        trip, rank = self.trip, self.rank
        if trip.due("actor-get", rank, step):
            ray.get(self.env.stuck_rollout.remote())
        if trip.due("task-pending", rank, step):
            ray.get(score.remote(np.ones(3)))
        if trip.since("big-get", rank, step) and step % 40 == trip.step % 40:
            ray.get(self.env.big_rollout.remote())
        return torch.from_numpy(ray.get(self.env.rollout.remote()).copy())

    def accidents(self, step: int) -> None:
        trip, rank = self.trip, self.rank
        if trip.due("sigkill", rank, step):
            os.kill(os.getpid(), signal.SIGKILL)
        if trip.due("segv", rank, step):
            os.kill(os.getpid(), signal.SIGSEGV)
        if trip.due("exit", rank, step):
            os._exit(7)
        if trip.due("oom", rank, step):
            limit_memory(LIMIT_BYTES)
            self.kept = hoard(2 * LIMIT_BYTES)
        if trip.due("squeeze", rank, step):
            limit_memory(LIMIT_BYTES // 2)  # pages that it has already are not charged anew
            self.kept = hoard(resident_bytes() + LIMIT_BYTES // 2 - (14 << 20))
        if trip.since("spill", rank, step):
            self.kept.append(ray.put(np.ones(12 << 20, dtype="uint8")))
        if trip.fault == "restart" and (rank, step) == (trip.rank, trip.step):
            try:
                (trip.out / "died").open("x").close()
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    def publish(self, step: int, reward: float) -> None:
        trip, rank = self.trip, self.rank
        if trip.fault == "report-blocked" and step == trip.step:
            if trip.due("report-blocked", rank, step):
                time.sleep(3600)
            ray.train.report({"reward": reward})
        if trip.due("report-alone", rank, step):
            ray.train.report({"reward": reward})
        if trip.fault == "report-skip" and step == trip.step and not self.skips(step):
            ray.train.report({"reward": reward})
        if trip.fault == "reports" and step % 10 == 0:
            trip.broke()
            ray.train.report({"reward": reward})

    def skips(self, step: int) -> bool:
        return bool(self.trip.due("report-skip", self.rank, step))

    def learn(self) -> None:
        write = self.trip.log(self.rank)
        if self.trip.fault == "restart" and (self.trip.out / "died").exists():
            self.trip.broke()
        for step in range(10_000_000):
            batch = self.experience(step)
            time.sleep(self.pace_s)
            self.accidents(step)
            loss = self.engine(batch).pow(2).mean()
            self.engine.backward(loss)
            self.engine.step()
            write(step, loss.item())
            self.publish(step, loss.item())


def learn(options: dict[str, Any]) -> None:
    Learner(options).learn()


if __name__ == "__main__":
    given = arguments(__doc__, FAULTS)
    restarts = 1 if given["fault"] == "restart" else 0
    TorchTrainer(
        learn,
        train_loop_config=given,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=given["workers"], resources_per_worker={"CPU": 0.1}
        ),
        run_config=RunConfig(
            storage_path=f"{given['out']}/storage",
            failure_config=FailureConfig(max_failures=restarts),
        ),
    ).fit()
