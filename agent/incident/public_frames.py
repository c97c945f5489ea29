"""Stacks as they may be published: frames of public packages as they are, all others renamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from dsray_inspect.agent.compat import torch
from dsray_inspect.agent.incident.allowed import PACKAGES, SITE_FOLDER, USER_FOLDER
from dsray_inspect.agent.incident.pseudonyms import Pseudonyms
from dsray_inspect.agent.model import Frame
from dsray_inspect.agent.stacks.frame_rules import path_of

_OURS: Final = ("deepspeed", "torch", "collective", "ray", "ray_train")
_GENERATED: Final = (*torch.GENERATED_FILES, *torch.OLDER_GENERATED_FILES)
_GENERATED_NAMES: Final = frozenset(["forward", "<module>", "inner"])


def public_frames(frames: Sequence[Frame], names: Pseudonyms) -> tuple[Frame, ...]:
    """Return the frames without local variables, their layers as they were."""
    return tuple(_public_frame(frame, names) for frame in frames)


def _public_frame(frame: Frame, names: Pseudonyms) -> Frame:
    file = _public_file(frame, names)
    is_public = not file.startswith(USER_FOLDER) and _has_public_name(frame)
    return msgspec.structs.replace(
        frame,
        name=frame.name if is_public else names.function(frame.name),
        file=file,
        qualname=frame.qualname if is_public else None,
        locals=None,
    )


def _public_file(frame: Frame, names: Pseudonyms) -> str:
    if frame.layer == "user":
        return names.user_file(frame.file)

    if frame.file.startswith(_GENERATED):
        return next(head for head in _GENERATED if frame.file.startswith(head)) + ">"

    if frame.layer in _OURS:
        inside = path_of(frame)  # also of a checkout, which lies in somebody's folder

        if inside.partition("/")[0] in PACKAGES:
            return SITE_FOLDER + inside

    return names.path(frame.file)


def _has_public_name(frame: Frame) -> bool:
    """Return whether the name of a function is its package's; generated code has the user's."""
    return not frame.file.startswith(_GENERATED) or frame.name in _GENERATED_NAMES
