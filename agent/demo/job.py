"""Train a small network on synthetic data with Ray Train and DeepSpeed, on CPUs.

An ordinary script that knows nothing of dsray-inspect. With --hang-at a rank blocks in `load_batch`,
as if it read from a file server that went away.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

FEATURES = 64
BATCH = 32
READ_S = 0.04


def load_batch(rank: int, step: int, config: dict[str, Any]) -> Any:
    """Return the next batch, as slowly as a small file read over the network."""
    import torch

    if step == config["hang_at"] and rank == config["hang_rank"]:
        time.sleep(24 * 3600)

    time.sleep(READ_S)
    inputs = torch.randn(BATCH, FEATURES)
    return inputs, inputs.sum(dim=1, keepdim=True)


def build_model() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Linear(FEATURES, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)
    )


def teach(config: dict[str, Any]) -> None:
    """Train on one rank."""
    import deepspeed
    import ray.train
    import torch

    rank = ray.train.get_context().get_world_rank()
    model = build_model()
    engine, _, _, _ = deepspeed.initialize(
        model=model,
        model_parameters=model.parameters(),
        config={
            "train_micro_batch_size_per_gpu": BATCH,
            "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
            "zero_optimization": {"stage": config["zero"]},
        },
    )

    for step in range(config["steps"]):
        inputs, targets = load_batch(rank, step, config)
        loss = torch.nn.functional.mse_loss(engine(inputs), targets)
        engine.backward(loss)
        engine.step()

        if rank == 0 and step % 20 == 0:
            print(f"step {step} loss {loss.item():.4f}", flush=True)


def main() -> None:
    from ray.train import ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--zero", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--hang-at", type=int, default=-1)
    parser.add_argument("--hang-rank", type=int, default=1)
    options = parser.parse_args()
    trainer = TorchTrainer(
        teach,
        train_loop_config=vars(options),
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(
            num_workers=options.workers,
            use_gpu=True,
            resources_per_worker={"CPU": 1, "GPU": 1},
        ),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
