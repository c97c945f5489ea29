"""Python's cycle collector, paused while a sample's records are made.

Records hold no cycles. Each of its rounds goes through all that were made so far, and a hundred
thousand ranks make millions of objects.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def without_collector(work: F) -> F:
    """Run the function with the collector off; it is as it was afterwards."""

    @functools.wraps(work)
    def run(*args: Any, **more: Any) -> Any:
        if not gc.isenabled():
            return work(*args, **more)

        gc.disable()

        try:
            return work(*args, **more)
        finally:
            gc.enable()

    return cast("F", run)
