"""Train with DeepSpeed in plain Ray actors, as OpenRLHF does: no Ray Train anywhere.

The driver makes one actor per rank and calls `fit` on each. An actor learns its place as an
argument and sets the variables itself (`--by environ`), or its runtime environment has them.
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from pathlib import Path
from typing import Any

import ray
import torch


def load_batch(rank: int, step: int, options: dict[str, Any]) -> torch.Tensor:
    if rank == options["fault_rank"] and step == options["fault_step"]:
        time.sleep(3600)
    time.sleep(options["step_sleep_s"])
    return torch.randn(2, 16)


def leave_ops_uncompiled() -> None:
    # Not in fit: where a pickled function names torch and `ops`, torch.ops would be pickled too.
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


class PolicyActor:
    """One rank of the policy's world."""

    def __init__(self, place: dict[str, str]) -> None:
        os.environ.update(place)

    def address(self) -> str:
        with socket.socket() as end:
            end.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{end.getsockname()[1]}"

    def fit(self, place: dict[str, str], options: dict[str, Any]) -> None:
        os.environ.update(place)
        import deepspeed

        leave_ops_uncompiled()
        deepspeed.init_distributed("gloo")
        rank = int(os.environ["RANK"])
        model = torch.nn.Linear(16, 16)
        engine, *_ = deepspeed.initialize(
            model=model,
            model_parameters=model.parameters(),
            config={
                "train_micro_batch_size_per_gpu": 2,
                "zero_optimization": {"stage": 2},
                "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
            },
        )
        with (Path(options["out"]) / f"rank{rank}.log").open("a", buffering=1) as log:
            for step in range(options["steps"]):
                loss = engine(load_batch(rank, step, options)).pow(2).mean()
                engine.backward(loss)
                engine.step()
                log.write(f"{step} {loss.item():.6f} {time.time():.6f} {os.getpid()}\n")


class RolloutActor(PolicyActor):
    """Generates what the policy learns from; it has torch and is no rank."""

    def wait_for_prompts(self) -> None:
        while True:
            time.sleep(0.5)


def places_at(address: str, workers: int) -> list[dict[str, str]]:
    """Return the variables of each rank."""
    host, _, port = address.partition(":")
    return [
        {
            "RANK": str(rank),
            "WORLD_SIZE": str(workers),
            "LOCAL_RANK": "0",
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
            "DS_ACCELERATOR": "cpu",
            "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo"),
        }
        for rank in range(workers)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--gpus", type=float, default=0)
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--step-sleep-s", type=float, default=0.1)
    parser.add_argument("--fault-rank", type=int, default=-1)
    parser.add_argument("--fault-step", type=int, default=8)
    parser.add_argument("--by", choices=("environ", "runtime-env"), default="environ")
    options = vars(parser.parse_args())
    ray.init()
    workers = options["workers"]
    actor: Any = ray.remote(num_cpus=0.1, num_gpus=options["gpus"], scheduling_strategy="SPREAD")(
        PolicyActor
    )
    rollout: Any = ray.remote(num_cpus=0.1)(RolloutActor)
    rollout = rollout.remote({})

    if options["by"] == "environ":
        ranks = [actor.remote({}) for _ in range(workers)]
        # Ranks meet where rank 0 is.
        places = places_at(ray.get(ranks[0].address.remote()), workers)
    else:
        places = places_at(ray.get(rollout.address.remote()), workers)
        ranks = [
            actor.options(runtime_env={"env_vars": variables}).remote({}) for variables in places
        ]

    waits = rollout.wait_for_prompts.remote()
    ray.get([rank.fit.remote(at, options) for rank, at in zip(ranks, places, strict=True)])
    ray.cancel(waits)


if __name__ == "__main__":
    main()
