"""One DeepSpeed loop whose steps are bare, probed and under TraceML, in turns.

Run by the benchmark `traceml` in a process of its own; prints the time of each step of each block
as JSON. Arguments: repeats, port of TraceML's aggregator, folder of TraceML's logs.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed
from torch.utils.data import DataLoader

from dsray_inspect.agent.probes.probe import Probe
from dsray_inspect.agent.probes.ring import Ring
from tests.bench.traceml import FOLDER, NOT_OURS, SETTLING, STEPS

PATCHED = (
    (torch.nn.Module, "__call__"),
    (torch.Tensor, "backward"),
    (torch.Tensor, "to"),
    (torch.autograd, "backward"),
    (DataLoader, "__iter__"),
)
"""What TraceML's `init` replaces for good."""
CONFIG = {
    "train_micro_batch_size_per_gpu": 4,
    "zero_optimization": {"stage": 2},
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
}

Around = Callable[[], AbstractContextManager[object]]
Times = list[tuple[int, int]]
"""Nanoseconds of each step: of the training thread's CPU, and on the wall."""


class Loop:
    """The loop of a user: four layers on one rank, so that a step is short."""

    def __init__(self, rendezvous: str) -> None:
        os.environ.update(DS_ACCELERATOR="cpu", LOCAL_RANK="0", RANK="0", WORLD_SIZE="1")
        import deepspeed

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        torch.set_num_threads(1)
        torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=0, world_size=1)
        model = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(4)))
        self.engine, *_ = deepspeed.initialize(
            model=model, model_parameters=model.parameters(), config=CONFIG
        )
        self.batch = torch.randn(4, 64)

    def step(self) -> None:
        loss = self.engine(self.batch).pow(2).mean()
        self.engine.backward(loss)
        self.engine.step()

    def times(self, around: Around) -> Times:
        """Take a block of steps, each inside `around`."""
        found = []

        for _ in range(SETTLING + STEPS):
            cpu, wall = time.thread_time_ns(), time.perf_counter_ns()

            with around():
                self.step()

            found.append((time.thread_time_ns() - cpu, time.perf_counter_ns() - wall))

        return found


@contextlib.contextmanager
def probed() -> Iterator[Around]:
    """Have our probe in, as a `trace` has; the steps themselves are as they were."""
    probe = Probe(Ring())
    probe.hold(1, 3600)
    probe.put_in()

    try:
        yield contextlib.nullcontext
    finally:
        written = next(probe.ring.numbers) - 1
        probe.take_out()
        assert written >= SETTLING + STEPS, "the probe has recorded nothing"


class TraceML:
    """TraceML as its manual has it for DeepSpeed: `init(mode="auto")`, `trace_step` a step.

    It has no way out of a process, so that its patches are taken out and put in here.
    """

    def __init__(self, model: torch.nn.Module, port: int, logs: str) -> None:
        sys.path += [folder for folder in [os.environ.get(FOLDER)] if folder]
        self._api: Any = importlib.import_module("traceml_ai")
        self._hooks: Any = importlib.import_module(
            "traceml_ai.instrumentation.hooks.optimizer_hooks"
        )
        self._state: Any = importlib.import_module("traceml_ai.runtime.state")
        self._model = model
        before = standing()
        self._api.init(
            mode="auto", aggregator_port=port, logs_dir=logs, on_missing_aggregator="raise"
        )
        self._patches = standing()
        assert self._patches != before, "TraceML has patched nothing"
        self._before = before
        put(before)

    @contextlib.contextmanager
    def on(self) -> Iterator[Around]:
        done = self._state.get_trace_session_state().step
        put(self._patches)

        try:
            yield lambda: self._api.trace_step(self._model)
        finally:
            put(self._before)
            self._hooks.reset_optimizer_timing()

        assert self._state.should_record_trace_events(), "TraceML has stopped recording"
        assert self._state.get_trace_session_state().step >= done + SETTLING + STEPS


def standing() -> list[object]:
    """Return what is in each place that TraceML patches, None for what is inherited."""
    return [vars(owner).get(name) for owner, name in PATCHED]


def put(values: list[object]) -> None:
    for (owner, name), value in zip(PATCHED, values, strict=True):
        if value is not None:
            setattr(owner, name, value)
        elif name in vars(owner):
            delattr(owner, name)


@contextlib.contextmanager
def theirs_to_answer_for() -> Iterator[None]:
    """End with a code of its own what fails of TraceML: that is no failure of ours."""
    try:
        yield
    except Exception:
        traceback.print_exc()
        sys.exit(NOT_OURS)


def main() -> None:
    repeats, port, logs = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    loop = Loop(f"file://{logs}/rendezvous")

    with theirs_to_answer_for():
        traceml = TraceML(loop.engine.module, port, logs)

    blocks: dict[str, list[Times]] = {"bare": [], "ours": [], "theirs": []}

    sides: list[tuple[str, Callable[[], AbstractContextManager[Around]]]] = [
        ("bare", lambda: contextlib.nullcontext(contextlib.nullcontext)),
        ("ours", probed),
        ("theirs", traceml.on),
    ]

    for _ in range(repeats):
        for name, side in sides:
            whose = theirs_to_answer_for() if name == "theirs" else contextlib.nullcontext()

            with whose, side() as around:
                blocks[name].append(loop.times(around))

        sides.reverse()

    print(json.dumps(blocks), flush=True)


if __name__ == "__main__":
    main()
