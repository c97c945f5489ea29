"""What single functions of Ray Train, DeepSpeed and torch tell about what a rank is doing."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, cast

from dsray_inspect.agent.compat import deepspeed, libraries, ray, torch
from dsray_inspect.agent.model import Frame, Phase
from dsray_inspect.agent.stacks.layers import home

Mark = Phase | Literal["pipeline"]

_PACKAGE_OF_LAYER = {
    "deepspeed": "deepspeed",
    "torch": "torch",
    "collective": "torch",
    "ray": "ray",
    "ray_train": "ray",
}


def _any_of(words: str) -> re.Pattern[str]:
    """Return what fits any of some patterns as a whole; without any it fits everything."""
    return re.compile("|".join(words.split()) or ".*")


# Path in the package, names in the file, mark. The first row that fits counts.
_MARKS: tuple[tuple[re.Pattern[str], re.Pattern[str], Mark], ...] = tuple(
    (_any_of(rule.paths), _any_of(rule.names), cast(Mark, rule.phase))
    for rule in (
        *torch.FRAME_RULES,
        *ray.FRAME_RULES,
        *deepspeed.FRAME_RULES,
        *libraries.FRAME_RULES,
    )
)


def path_of(frame: Frame) -> str:
    """Return the path of a frame's file inside its package, also for a checkout of the package."""
    package, path = home(frame.file)
    if package == "" and frame.layer in _PACKAGE_OF_LAYER:
        name = _PACKAGE_OF_LAYER[frame.layer]
        _, found, tail = frame.file.rpartition(f"/{name}/")
        if found:
            return f"{name}/{tail}"

    return path


def mark_of(frame: Frame) -> Mark | None:
    """Return what a frame says about its rank, None when it says nothing."""
    if frame.layer == "native":
        return None

    mark = _mark(path_of(frame), frame.name.rpartition(".")[2] or frame.name)
    return "collective" if mark is None and frame.layer == "collective" else mark


@lru_cache(maxsize=16384)
def _mark(path: str, name: str) -> Mark | None:
    for paths, names, mark in _MARKS:
        if paths.fullmatch(path) and names.fullmatch(name):
            return mark

    return None
