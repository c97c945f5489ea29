"""One rank without Ray: real DeepSpeed engines, each with the probe put in while it trains.

Prints a line of JSON for each: what the ring held, and what it changed.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from deepspeed import init_distributed

# Before the probe, by another name: what a script has bound cannot be wrapped.
from deepspeed import initialize as begin
from deepspeed.ops import __compatible_ops__
from deepspeed.pipe import PipelineModule
from deepspeed.runtime.engine import DeepSpeedEngine

from dsray_inspect.agent.probes import deepspeed as targets
from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.install import install, uninstall
from dsray_inspect.agent.probes.ring import Reader

Train = Callable[[], float]
TOKEN = 7


class UserEngine(DeepSpeedEngine):  # type: ignore[misc]
    """A user's engine, with a `forward` of its own."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs)


def config(stage: int, accumulate: int = 1) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": accumulate,
        "zero_optimization": {"stage": stage, "stage3_param_persistence_threshold": 0},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
    }


def engine_of(stage: int, accumulate: int = 1) -> Any:
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(3)))
    return begin(
        model=model, model_parameters=model.parameters(), config=config(stage, accumulate)
    )[0]


def training(engine: Any, *, direct: bool = False, accumulate: int = 1) -> Train:
    def train() -> float:
        for _ in range(accumulate):
            loss = engine(torch.ones(4, 16)).pow(2).mean()
            loss.backward() if direct else engine.backward(loss)
            engine.step()
        return float(loss)

    return train


def with_failure(engine: Any) -> Train:
    """Every step is tried with a batch of the wrong shape first."""
    train = training(engine)

    def fail_and_train() -> float:
        try:
            engine(torch.ones(4, 5))
        except RuntimeError:
            return train()
        raise AssertionError("the wrong batch was taken")

    return fail_and_train


def pipeline() -> Train:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(16, 16) for _ in range(2)]
    net = PipelineModule(layers=layers, num_stages=1, loss_fn=torch.nn.functional.mse_loss)
    options = config(0, 2) | {"zero_optimization": {"stage": 0}}
    engine = begin(model=net, model_parameters=net.parameters(), config=options)[0]

    def batches() -> Iterator[Any]:
        while True:
            yield torch.ones(4, 16), torch.zeros(4, 16)

    found = batches()
    return lambda: float(engine.train_batch(data_iter=found))


def compiled(engine: Any) -> Train:
    engine.compile(backend="eager")
    return training(engine)


def subclassed(engine: Any) -> Train:
    engine.__class__ = UserEngine
    return training(engine)


def graphs() -> int:
    counters: Any = sys.modules["torch._dynamo.utils"].counters
    return int(counters["stats"]["unique_graphs"] + sum(counters["graph_break"].values()))


def functions() -> dict[str, Any]:
    return {
        f"{owner.__name__}.{target.name}": vars(owner).get(target.name)
        for target in targets.TARGETS
        for owner in target.owners()
    }


def probed(name: str, train: Train, steps: int = 3) -> None:
    """Train, put the probe in, train on, take it out, train on."""
    for _ in range(2):
        train()

    before, originals = graphs(), functions()
    answer = install(None, {"token": TOKEN, "lease_s": 600.0, "capacity": 4096}, {})["probe"]
    reader = Reader(answer["ring"])
    losses = [train() for _ in range(steps)]
    gone = uninstall(None, {"token": TOKEN}, {})
    after = functions()
    print(
        json.dumps(
            {
                "name": name,
                "records": base64.b64encode(reader.read()).decode(),
                "clock": [reader.header[wire.W_WALL_NS], reader.header[wire.W_CLOCK_NS]],
                "losses": [*losses, train()],
                "gone": gone,
                "restored": all(after[key] is one for key, one in originals.items()),
                "new_graphs": graphs() - before,
                "missing": answer["missing"],
            }
        ),
        flush=True,
    )
    reader.close()


def main() -> None:
    __compatible_ops__["deepspeed_shm_comm"] = False
    init_distributed("gloo")
    probed("engine", training(engine_of(2)))
    probed("accumulate", training(engine_of(2, 2), accumulate=2))
    probed("direct", training(engine_of(2), direct=True))
    probed("failing", with_failure(engine_of(2)))
    probed("subclass", subclassed(engine_of(2)))
    probed("zero3", training(engine_of(3)))
    probed("compiled", compiled(engine_of(2)))
    probed("pipeline", pipeline())


if __name__ == "__main__":
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1")
    main()
