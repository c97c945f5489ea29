"""Which differences of the environment are a finding, and which are only not there yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.detectors.env_drift import env_drift
from dsray_inspect.agent.model import EnvVar
from dsray_inspect.agent.model.vocabulary import EnvSource, Phase
from dsray_inspect.agent.unavailable import Unavailable
from tests.tui.histories import recorded

replace = msgspec.structs.replace


def odd_ranks(
    *, source: EnvSource, phase: Phase, idle_s: float = 0.1, value: str | None = None
) -> list[tuple[int, ...]]:
    """Return whom env_drift names when rank 1 lacks a variable, or has another value of it."""
    healthy = recorded("healthy")
    set_elsewhere = EnvVar(value="ring", source=source)
    workers = tuple(
        replace(
            worker,
            phase=phase if worker.rank == 1 else "forward",
            idle_s=idle_s,
            env={
                **worker.env,
                **({"NCCL_ALGO": set_elsewhere} if worker.rank != 1 else {}),
                **(
                    {"NCCL_ALGO": replace(set_elsewhere, value=value)}
                    if worker.rank == 1 and value
                    else {}
                ),
            },
        )
        for worker in healthy.workers
    )
    driver = SimpleNamespace(environ=Unavailable(reason="not_asked", detail="not asked"))
    sample: Any = SimpleNamespace(
        snapshot=replace(healthy, workers=workers), observation=SimpleNamespace(driver=driver)
    )
    return [found.ranks for found in env_drift(sample)]


def test_a_rank_that_trains_without_it_is_named() -> None:
    assert odd_ranks(source="user_code", phase="forward") != []


@pytest.mark.parametrize("phase", ["starting", "init_process_group", "deepspeed_init"])
def test_a_rank_that_is_being_set_up_may_still_set_it(phase: Phase) -> None:
    assert odd_ranks(source="user_code", phase=phase) == []
    assert odd_ranks(source="deepspeed", phase=phase) == []


def test_what_a_process_is_started_with_does_not_come_later() -> None:
    assert odd_ranks(source="runtime_env", phase="starting") != []
    assert odd_ranks(source="inherited", phase="starting") != []


def test_a_rank_that_is_stuck_in_its_set_up_lacks_it() -> None:
    assert odd_ranks(source="user_code", phase="init_process_group", idle_s=60.0) != []


def test_another_value_is_there_already() -> None:
    assert odd_ranks(source="user_code", phase="starting", value="tree") != []
