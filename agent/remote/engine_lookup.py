"""Find the live DeepSpeed engine of this process (stdlib only, sent by value).

No reference may be kept: a kept frame would pin a step's tensors.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType
from typing import Any

from dsray_inspect.agent.compat.deepspeed import (
    ENGINE_CLASS,
    ENGINE_FILES,
    ENGINE_MODULE,
    INITIALIZE,
)
from dsray_inspect.agent.remote.threads import walk

_SCAN_NS_PER_BLOCK = 30
"""What `gc.get_referrers` costs per allocated block: 45 ms at 1,900,000 blocks, with a margin."""
_LOOKS = 6
_LOOK_EVERY_S = 0.003
_PATIENT_LOOKS = 30
_OWN_FILES = tuple(file.removeprefix("deepspeed") for file in ENGINE_FILES)
"""Without the package, whose folder may have another name in a checkout."""
_NOT_RETURNED = "deepspeed.initialize has not returned yet"


def attempts(patience_s: float) -> Iterator[None]:
    """Yield at once and then again and again, `_LOOKS` times or for as long as `patience_s`."""
    yield

    for _ in range(_LOOKS - 1):
        time.sleep(_LOOK_EVERY_S)
        yield

    if patience_s > _LOOKS * _LOOK_EVERY_S:
        for _ in range(_PATIENT_LOOKS):
            time.sleep(patience_s / _PATIENT_LOOKS)
            yield


def find_engine(may_scan_ms: float, moments: Iterable[None]) -> tuple[Any, str]:
    """Return the DeepSpeed engine, or None and why.

    An engine whose method is on some thread's stack costs nothing to find. Otherwise all
    objects are asked who refers to the class, once, if that is estimated to take at most
    `may_scan_ms`: the scan holds the GIL. Frames come and go, hence several `moments` to look.
    """
    module = sys.modules.get(ENGINE_MODULE)

    if module is None:
        return None, "DeepSpeed is not imported in this process"

    for _ in moments:
        if _initialize_on_stack():
            return None, _NOT_RETURNED

        engine = _engine_on_stack(getattr(module, ENGINE_CLASS))

        if engine is not None:
            return engine, "ok"

    cost_ms = sys.getallocatedblocks() * _SCAN_NS_PER_BLOCK / 1e6

    if cost_ms > may_scan_ms:
        return None, (
            f"no engine method is on the stack, and a search would stop the rank for about "
            f"{cost_ms:.0f} ms (allowed: {may_scan_ms:.0f} ms, --max-pause)"
        )

    return _engine_by_scan(getattr(module, ENGINE_CLASS))


def _engine_on_stack(engine_class: type) -> Any:
    """Return `self` of a running engine method.

    Only frames of DeepSpeed's own engine module are opened. Before Python 3.13 reading the
    locals of a frame keeps them alive until it returns, which is soon there, and changes
    what an earlier `locals()` of its code gave, which a user's code may have kept.
    """
    for frame in _frames():
        if _is_engine_method(frame.f_code):
            candidate = frame.f_locals.get("self")

            if _is_finished(candidate, engine_class):
                return candidate

    return None


def _frames() -> Iterator[FrameType]:
    """Yield the frames of all threads, each thread's innermost first."""
    for frame in sys._current_frames().values():
        yield from walk(frame)


def _is_finished(candidate: Any, engine_class: type) -> bool:
    """Return whether this is an engine whose constructor has come to its end."""
    return isinstance(candidate, engine_class) and hasattr(candidate, "optimizer")


def _initialize_on_stack() -> bool:
    return any(
        frame.f_code.co_name == INITIALIZE[0] and frame.f_code.co_filename.endswith(INITIALIZE[1])
        for frame in _frames()
    )


def _is_engine_method(code: CodeType) -> bool:
    own = code.co_filename.endswith(_OWN_FILES)
    return own and "deepspeed" in code.co_filename and code.co_varnames[:1] == ("self",)


def _engine_by_scan(engine_class: type) -> tuple[Any, str]:
    """Return the newest finished engine that refers to the class or a subclass of it."""
    classes: list[type] = [engine_class]

    for found in classes:
        classes.extend(found.__subclasses__())

    candidates = [
        candidate
        for candidate in gc.get_referrers(*classes)
        if _is_finished(candidate, engine_class)
    ]

    if not candidates:
        return None, _NOT_RETURNED

    return candidates[-1], "ok"
