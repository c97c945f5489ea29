"""A real Ray Train + DeepSpeed job with every phase in it, for `record.py` to look at."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import ray.train
import torch
import torch.distributed as dist
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

WIDTH = 1024


def hold(options: dict[str, Any], place: str) -> None:
    """Keep rank 1 at the place that the arguments name."""
    if options["hold"] == place and ray.train.get_context().get_world_rank() == 1:
        time.sleep(3600)


class Numbers(torch.utils.data.Dataset[torch.Tensor]):
    """Samples that take a while to make."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def __len__(self) -> int:
        return 100_000_000

    def __getitem__(self, index: int) -> torch.Tensor:
        hold(self.options, "data")
        time.sleep(0.002)
        return torch.randn(WIDTH, generator=torch.Generator().manual_seed(index))


class Identity(torch.autograd.Function):
    """A layer of the user's own with a backward of the user's own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        ctx.options = options
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        hold(ctx.options, "backward")
        return grads[0], None


class Net(torch.nn.Module):
    """Wide layers, so that each phase of a step lasts long enough to be seen."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.options = options
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH) for _ in range(4)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = Identity.apply(self.layers(x), self.options)  # type: ignore[no-untyped-call]
        return output


class Plain:
    """The engine's interface with nothing of DeepSpeed behind it."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = torch.nn.parallel.DistributedDataParallel(model)
        self.optimizer = torch.optim.AdamW(model.parameters())

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.model(batch)
        return output

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()


def make_engine(options: dict[str, Any]) -> Any:
    model = Net(options)
    if options["zero"] < 0:
        return Plain(model)

    import deepspeed

    hold(options, "init")
    if not options["compile_ops"]:
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

    config = {
        "train_micro_batch_size_per_gpu": options["batch"],
        "zero_optimization": {
            "stage": options["zero"],
            "stage3_param_persistence_threshold": 0,
            "stage3_prefetch_bucket_size": 0,
        },
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
    }
    return deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)[0]


def mix(batch: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
    hold(options, "user")
    time.sleep(0.02)
    return batch * 2


def teach(options: dict[str, Any]) -> None:
    engine = make_engine(options)
    loader = torch.utils.data.DataLoader(
        Numbers(options), batch_size=options["batch"], num_workers=options["loaders"]
    )
    for batch in loader:
        loss = engine(mix(batch, options)).pow(2).mean()
        engine.backward(loss)
        engine.step()
        hold(options, "barrier")
        if options["save"]:
            engine.save_checkpoint(str(Path(options["out"]) / "checkpoint"), tag="last")
        if options["hold"] == "barrier":
            dist.barrier()
        hold(options, "report")
        if options["hold"] == "report":
            ray.train.report({"loss": loss.item()})


def be_late() -> None:
    """Make rank 1 late for the rendezvous, as the job's worker_process_setup_hook."""
    start = dist.init_process_group

    def late(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("rank") == 1:
            time.sleep(3600)
        return start(*args, **kwargs)

    dist.init_process_group = late


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--zero", type=int, default=2, help="-1: torch alone")
    parser.add_argument("--hold", default="")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--loaders", type=int, default=0)
    parser.add_argument("--cpus", type=float, default=0.1)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--compile-ops", action="store_true")
    args = parser.parse_args()
    TorchTrainer(
        teach,
        train_loop_config=vars(args),
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": args.cpus}),
        run_config=RunConfig(storage_path=str(Path(args.out) / "storage")),
    ).fit()


if __name__ == "__main__":
    main()
