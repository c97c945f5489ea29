"""Whether the numbers of the live engine are in order (stdlib only, sent by value).

Only what lies on the host is read: a value on a device would have to be waited for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import CodeType
from typing import Any

from dsray_inspect.agent.compat.deepspeed import (
    BACKWARD,
    LOSS_ARGUMENT,
    LOSS_SCALE,
    LOSS_SCALER,
    OVERFLOW,
    OVERFLOWED_NORM,
)
from dsray_inspect.agent.remote.threads import walk

OVERFLOWED = ("nan", "inf", "-inf", OVERFLOWED_NORM)
"""Norms of gradients that are not finite; DeepSpeed makes -1 of one."""


def health(engine: Any, moments: Iterable[None]) -> dict[str, Any]:
    """Return skipped steps, loss scale, gradient norm, overflow and loss, as far as they are known.

    A loss that is not a number makes the gradients overflow, too: where they do, it is looked
    for in all of these `moments`.
    """
    if engine is None:
        return {}

    optimizer = getattr(engine, "optimizer", None)
    norm = getattr(optimizer, "_global_grad_norm", None)
    grad_norm = _plain(norm if norm is not None else getattr(engine, "_global_grad_norm", None))
    overflow = getattr(optimizer, OVERFLOW, None)
    overflowed = grad_norm in OVERFLOWED or overflow is True
    scaler = getattr(optimizer, LOSS_SCALER, None)
    return {
        "skipped_steps": _plain(getattr(engine, "skipped_steps", None)),
        "grad_norm": grad_norm,
        "overflow": overflow if isinstance(overflow, bool) else None,
        "loss_scale": _plain(getattr(scaler, LOSS_SCALE, None)),
        "loss": _plain(_loss_on_stack(moments if overflowed else (None,))),
        "weight": _plain(_first_weight(engine)),
    }


def _loss_on_stack(moments: Iterable[None]) -> Any:
    """Return the loss that an engine's `backward` is at work on; its frame is soon gone."""
    for _ in moments:
        for frame in sys._current_frames().values():
            for inner in walk(frame):
                if _is_backward(inner.f_code):
                    return inner.f_locals.get(LOSS_ARGUMENT)

    return None


def _is_backward(code: CodeType) -> bool:
    return code.co_name == BACKWARD[0] and code.co_filename.endswith(BACKWARD[1])


def _first_weight(engine: Any) -> Any:
    """Return one element of the model: when one is not a number, soon all are not."""
    for parameter in engine.module.parameters():
        if parameter.device.type != "cpu":
            return None

        if parameter.numel():
            return parameter.detach().reshape(-1)[0]

    return None


def _plain(value: Any) -> float | str | None:
    """Return a number of the host; what JSON has no number for as text: "nan", "inf", "-inf"."""
    if isinstance(value, bool) or value is None:
        return None

    if not isinstance(value, (int, float)):
        device = getattr(getattr(value, "device", None), "type", "")

        if device != "cpu" or value.numel() != 1:
            return None

        value = value.item()

    number = float(value)
    return number if abs(number) < float("inf") else str(number)
