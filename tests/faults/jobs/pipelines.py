"""A data engineer: ranks that are fed by Ray Data."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import ray
import ray.data
import ray.train
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from trip import Trip, arguments, leave_ops_uncompiled

FAULTS = {
    "none": "train on",
    "map-hangs": "from one block on, each map task of the pipeline polls for ever",
    "actor-hangs": "an actor of the pipeline reads from a pipe that nobody writes to",
    "shard-alone": "the rank alone asks for the validation shard",
    "epoch-alone": "the rank alone begins another epoch of the training shard",
    "starved": "the pipeline's actors need more CPUs than the ranks leave",
    # Healthy, but scary.
    "slow-map": "each block takes the pipeline 2 s",
}
ROWS = 100_000
HANGS_AT = 240


def mark(options: dict[str, Any]) -> Path:
    return Path(options["out"]) / "broke"


def cleaner(options: dict[str, Any]) -> Any:
    """Return a map function; it names nothing of this folder."""
    fault, path = options["fault"], mark(options)

    def clean(batch: Any) -> Any:
        if fault == "map-hangs" and max(batch["id"]) >= HANGS_AT:
            if not path.exists():
                path.write_text(repr(time.time()))
            while True:
                time.sleep(2)
        if fault == "slow-map":
            until = time.monotonic() + 2
            while time.monotonic() < until:
                sum(range(100_000))
        return batch

    return clean


class Tokenize:
    """An operator that is an actor."""

    def __init__(self, fault: str, path: Path) -> None:
        self.fault, self.path = fault, path

    def __call__(self, batch: Any) -> Any:
        if self.fault == "actor-hangs" and HANGS_AT in batch["id"]:
            self.path.write_text(repr(time.time()))
            return self.read_vocabulary()
        return batch

    def read_vocabulary(self) -> Any:
        pipe = self.path.with_name("vocabulary")
        os.mkfifo(pipe)
        return pipe.read_bytes()


def pipeline(options: dict[str, Any]) -> Any:
    rows = ray.data.range(ROWS, override_num_blocks=ROWS // 40, concurrency=2)
    if options["fault"] in ("actor-hangs", "starved"):
        given = (options["fault"], mark(options))
        cpus = 12.0 if options["fault"] == "starved" else 0.1
        return rows.map_batches(
            Tokenize, fn_constructor_args=given, concurrency=1, batch_size=20, num_cpus=cpus
        )
    # Each task is a process, and this machine may have two CPUs.
    tasks = 2 if options["fault"] == "slow-map" else 4
    return rows.map_batches(cleaner(options), batch_size=20, num_cpus=0.1, concurrency=tasks)


def train(options: dict[str, Any]) -> None:
    import deepspeed

    leave_ops_uncompiled()
    trip = Trip(options)
    rank = ray.train.get_context().get_world_rank()
    net = torch.nn.Linear(8, 8)
    engine, *_ = deepspeed.initialize(
        model=net,
        model_parameters=net.parameters(),
        config={
            "train_micro_batch_size_per_gpu": 4,
            "zero_optimization": {"stage": 1},
            "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
        },
    )
    write = trip.log(rank)
    if trip.fault == "starved":
        trip.broke()
    shard = ray.train.get_dataset_shard("train")
    for step, batch in enumerate(shard.iter_torch_batches(batch_size=4)):
        if trip.fault == "slow-map" and step == trip.step:
            trip.broke()
        if trip.due("shard-alone", rank, step):
            validate(engine)
        if trip.due("epoch-alone", rank, step):
            next(iter(shard.iter_torch_batches(batch_size=4)))
        time.sleep(options["pace_s"])
        rows = batch["id"].float().reshape(-1, 1).expand(-1, 8) / ROWS
        loss = engine(rows).abs().mean()
        engine.backward(loss)
        engine.step()
        write(step, loss.item())


def validate(engine: Any) -> None:
    for batch in ray.train.get_dataset_shard("val").iter_torch_batches(batch_size=4):
        engine.module(batch["id"].float().reshape(-1, 1).expand(-1, 8))


if __name__ == "__main__":
    given = arguments(__doc__, FAULTS)
    cpus = 2.0 if given["fault"] == "starved" else 0.1
    TorchTrainer(
        train,
        train_loop_config=given,
        datasets={"train": pipeline(given), "val": ray.data.range(60)},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=given["workers"], resources_per_worker={"CPU": cpus}
        ),
        run_config=RunConfig(storage_path=f"{given['out']}/storage"),
    ).fit()
