"""A small, real Ray Train + DeepSpeed job; it knows nothing of dsray-inspect.

Arguments select the shape of the job and the fault it runs into, so that a test reads as
one command line. Progress goes to a file per rank: one line a step.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
import torch.distributed
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch.utils.data import DataLoader, Dataset

Options = dict[str, Any]

FAULTS = {
    "none": "train on",
    "sleep": "the rank sleeps in load_batch; the others wait in the step's reduction",
    "gil": "the rank holds the GIL in load_batch, in a regular expression that never ends",
    "raise": "the rank raises an exception in load_batch",
    "barrier": "the rank calls a barrier of its own in load_batch; the others go on to the reduction",
    "save": "the rank alone saves a checkpoint, which is a collective",
    "leave": "the rank leaves the training function; the others wait in the step's reduction",
    "slow": "the rank takes 0.5 s longer for each batch from then on",
    "data": "a DataLoader worker of the rank never returns (needs --data-workers)",
    "late": "the rank sleeps before it joins the process group; the others wait for it there",
}


class Samples(Dataset[torch.Tensor]):
    """Samples that are made in DataLoader workers."""

    def __init__(self, rank: int, options: Options) -> None:
        self.rank = rank
        self.options = options

    def __len__(self) -> int:
        return int(self.options["steps"]) * 4

    def __getitem__(self, index: int) -> torch.Tensor:
        if self.options["fault"] == "data" and at_fault(self.rank, index // 4, self.options):
            read_from_a_dead_disk()
        return torch.randn(64)


def at_fault(rank: int, step: int, options: Options) -> bool:
    return bool(rank == options["fault_rank"] and step == options["fault_step"])


def read_from_a_dead_disk() -> None:
    time.sleep(3600)


def hold_the_gil() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def load_batch(rank: int, step: int, options: Options) -> torch.Tensor:
    if at_fault(rank, step, options):
        if options["fault"] == "sleep":
            time.sleep(3600)
        if options["fault"] == "gil":
            hold_the_gil()
        if options["fault"] == "raise":
            raise ValueError("a bad batch")
        if options["fault"] == "barrier":
            torch.distributed.barrier()
    if (
        options["fault"] == "slow"
        and rank == options["fault_rank"]
        and step >= options["fault_step"]
    ):
        time.sleep(0.5)
    time.sleep(options["step_sleep_s"])
    return torch.randn(4, 64)


def batches(rank: int, options: Options) -> Iterator[torch.Tensor]:
    workers = options["data_workers"]
    yield from DataLoader(Samples(rank, options), batch_size=4, num_workers=workers)


def deepspeed_config(options: Options) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 1,
        "zero_optimization": {"stage": options["zero"], "stage3_param_persistence_threshold": 0},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
        **(json.loads(Path(options["settings"]).read_text()) if options["settings"] else {}),
    }


def leave_ops_uncompiled() -> None:
    # Not in teach: where a pickled function names torch and `ops`, torch.ops would be pickled too.
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def teach(options: Options) -> None:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    if not options["compile_ops"]:
        leave_ops_uncompiled()
    rank = ray.train.get_context().get_world_rank()
    os.environ["USER_SETTING"] = "from-the-script"
    if rank == options["fault_rank"]:
        os.environ.update(pair.split("=", 1) for pair in options["drift"])
    torch.manual_seed(rank)  # so that two runs have one loss curve
    model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(4)))
    engine, _, _, _ = deepspeed.initialize(
        model=model, model_parameters=model.parameters(), config=deepspeed_config(options)
    )
    loader = batches(rank, options) if options["data_workers"] else None
    with (Path(options["out"]) / f"rank{rank}.log").open("a", buffering=1) as log:
        for step in range(options["steps"]):
            if at_fault(rank, step, options):
                if options["fault"] == "save":
                    engine.save_checkpoint(str(Path(options["out"]) / "checkpoint"))
                if options["fault"] == "leave":
                    return
            if options["talk"]:
                print(f"rank {rank} begins step {step}, password=planted-word-{step}")
            batch = next(loader) if loader else load_batch(rank, step, options)
            loss = engine(batch).pow(2).mean()
            engine.backward(loss)
            engine.step()
            log.write(f"{step} {loss.item():.6f} {time.time():.6f} {os.getpid()}\n")


def be_late() -> None:
    time.sleep(3600)


def late_rank(rank: str) -> Callable[[], None]:
    """Return a setup hook for worker processes that makes one rank late for the rendezvous.

    The hook itself must not sleep: Ray Train waits for all workers before any of them goes to
    the rendezvous, so no rank would be there to be seen waiting.
    """

    def hook() -> None:
        join = torch.distributed.init_process_group

        def join_late(*args: Any, **kwargs: Any) -> None:
            if os.environ["RANK"] == rank:
                be_late()
            join(*args, **kwargs)

        torch.distributed.init_process_group = join_late

    return hook


def fit(options: Options) -> None:
    resources = {"CPU": options["cpus"]}
    if options["gpus"]:
        resources["GPU"] = options["gpus"]
    Path(options["out"]).mkdir(parents=True, exist_ok=True)
    trainer = TorchTrainer(
        teach,
        train_loop_config=options,
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=options["workers"],
            use_gpu=bool(options["gpus"]),
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=options["name"] or None,
            storage_path=str(Path(options["out"]) / "storage"),
            failure_config=FailureConfig(max_failures=options["max_failures"]),
        ),
    )
    trainer.fit()


def fit_all(options: Options) -> None:
    """Run several fits at once, each in a task of its own, as Tune does."""
    base, name = Path(options["out"]), options["name"] or "run"
    task = ray.remote(num_cpus=0)(fit)
    runs = [
        options | {"out": str(base / f"run{i}"), "name": f"{name}-{i}"}
        for i in range(options["runs"])
    ]
    ray.get([task.remote(run) for run in runs])


def parse() -> Options:
    listed = "\n".join(f"  {name:8}{what}" for name, what in FAULTS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"faults:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="folder of the ranks' logs, shared by hosts")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=0.1, help="per worker")
    parser.add_argument("--gpus", type=float, default=0, help="slots per worker")
    parser.add_argument("--zero", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--step-sleep-s", type=float, default=0.01)
    parser.add_argument("--data-workers", type=int, default=0, help="DataLoader processes per rank")
    parser.add_argument("--fault", choices=FAULTS, default="none")
    parser.add_argument("--fault-rank", type=int, default=1)
    parser.add_argument("--fault-step", type=int, default=20)
    parser.add_argument(
        "--drift",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set in the environment of the rank at fault only",
    )
    parser.add_argument("--note", default="", help="is only there to be seen on the command line")
    parser.add_argument("--talk", action="store_true", help="print a line a step, a secret in it")
    parser.add_argument("--max-failures", type=int, default=0, help="restarts of the group")
    parser.add_argument("--runs", type=int, default=1, help="fits at once; logs in OUT/run0 …")
    parser.add_argument("--compile-ops", action="store_true", help="let DeepSpeed build its op")
    parser.add_argument("--settings", default="", help="a file with more of DeepSpeed's config")
    parser.add_argument("--name", default="")
    return vars(parser.parse_args())


def main() -> None:
    options = parse()
    if options["fault"] == "late":
        hook = late_rank(str(options["fault_rank"]))
        ray.init(runtime_env={"worker_process_setup_hook": hook})
    if options["runs"] > 1:
        fit_all(options)
    else:
        fit(options)


if __name__ == "__main__":
    main()
