"""Python's cycle collector, put to rest while records are made by the million.

They hold no cycles, and each of its rounds goes through all that were made so far.
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
