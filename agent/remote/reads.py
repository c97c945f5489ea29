"""Run the parts of a read inside an actor, one by one (stdlib only, sent by value).

Each part comes pickled and compressed, and is loaded when it is due: loading all at once, and
running them in one go, would hold the GIL for longer than a training thread should have to wait.
"""

from __future__ import annotations

import pickle
import time
import zlib
from typing import Any

from dsray_inspect.agent.remote.gil import yield_gil


def run(actor: Any, parts: list[tuple[str, bytes]], request: dict[str, Any]) -> dict[str, Any]:
    """Return what all parts read; each is called with the actor, the request and what was read so far.

    A part whose name an earlier one put into `unchanged` is neither loaded nor run.

    `request` holds `until` (Unix seconds): later the caller is gone, and nothing is done. The
    answer's `pause_ms` is the CPU time of the whole, which no pause can be longer than; `failed`
    holds what went wrong in a part, and the others go on.
    """
    if time.time() > request["until"]:
        return {"late": True}

    cpu_s = time.thread_time()
    so_far: dict[str, Any] = {}

    for name, part in parts:
        if name in so_far.get("unchanged", ()):
            continue

        yield_gil()
        read = pickle.loads(zlib.decompress(part))
        yield_gil()

        try:
            so_far.update(read(actor, request, so_far))
        except Exception as error:
            so_far.setdefault("failed", []).append(f"{type(error).__name__}: {error}"[:200])

    so_far["pause_ms"] = (time.thread_time() - cpu_s) * 1000
    return so_far
