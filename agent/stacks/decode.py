"""The threads that a process tells of itself, every frame labelled."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from sys import intern
from typing import Any

from dsray_inspect.agent.model import Frame, Thread
from dsray_inspect.agent.remote.threads import unpacked
from dsray_inspect.agent.stacks.layers import Roots, label


def threads_inside(answer: Mapping[str, Any]) -> tuple[Thread, ...]:
    """Return the threads of an answer, as `remote.worker.process` gives it."""
    roots = answer.get("roots") or {}
    known = roots_of(
        roots.get("deepspeed"), roots.get("torch"), roots.get("ray"), roots.get("stdlib")
    )
    return tuple(
        [
            Thread(
                name=intern(one["name"]),
                tid=one["tid"],
                idle_s=one["idle_s"],
                ran_s=one.get("ran_s"),
                run_delay_s=one.get("run_delay_s"),
                frames=labelled(one["frames"], known),
            )
            for one in answer.get("threads") or ()
        ]
    )


@lru_cache(maxsize=256)
def roots_of(
    deepspeed: str | None, torch: str | None, ray: str | None, stdlib: str | None
) -> Roots:
    return Roots(deepspeed=deepspeed, torch=torch, ray=ray, stdlib=stdlib)


@lru_cache(maxsize=8192)
def labelled(text: str, roots: Roots) -> tuple[Frame, ...]:
    """Return a packed stack with its layers; ranks that are in one place share one object."""
    return label(
        tuple(
            Frame(name=name, qualname=qualname, file=file, line=line)
            for name, qualname, file, line in unpacked(text)
        ),
        roots,
    )
