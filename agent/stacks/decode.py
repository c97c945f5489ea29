"""The threads that a process tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from sys import intern
from typing import Any

from dsray_inspect.agent.stacks.layers import Roots
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.stacks.thread import Thread


def threads_inside(answer: Mapping[str, Any], table: StackTable) -> tuple[Thread, ...]:
    """Return the threads of an answer, as `remote.worker.process` gives it."""
    roots = answer.get("roots") or {}
    known = _roots_of(
        roots.get("deepspeed"), roots.get("torch"), roots.get("ray"), roots.get("stdlib")
    )
    return tuple(
        [
            Thread(
                name=intern(thread["name"]),
                tid=thread["tid"],
                idle_s=thread["idle_s"],
                ran_s=thread.get("ran_s"),
                run_delay_s=thread.get("run_delay_s"),
                stack=table.unpacked(thread["frames"], known),
            )
            for thread in answer.get("threads") or ()
        ]
    )


@lru_cache(maxsize=256)
def _roots_of(
    deepspeed: str | None, torch: str | None, ray: str | None, stdlib: str | None
) -> Roots:
    return Roots(deepspeed=deepspeed, torch=torch, ray=ray, stdlib=stdlib)
