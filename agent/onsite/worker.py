"""What rung 2 runs in a training process: one read of itself (stdlib only, sent by value).

It runs on the worker's main thread between Ray's own tasks. It starts no thread, opens no
socket, patches nothing and leaves nothing behind. Between its parts it offers the GIL, so
that no single part is a pause worth noticing.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

from dsray_inspect.agent.onsite.engine import attempt, describe, find_engine
from dsray_inspect.agent.onsite.environ import compare_environ
from dsray_inspect.agent.onsite.locks import awaited_locks
from dsray_inspect.agent.onsite.threads import all_threads

IDENTITY = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")
VERSIONED = ("ray", "torch", "deepspeed", "transformers", "accelerate")


def look(_actor: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return this process's threads, environment and DeepSpeed engine.

    `request`: `until` (Unix seconds; later the caller is gone and nothing is done), `env` and
    `deepspeed` (whether to read them), `max_pause_ms`.
    """
    if time.time() > request["until"]:
        return {"late": True}

    cpu_s = time.thread_time()
    seen: dict[str, Any] = {"pid": os.getpid(), "threads": all_threads()}
    seen["hostname"] = socket.gethostname()
    seen["identity"] = {name: os.environ[name] for name in IDENTITY if name in os.environ}
    seen["locks"] = awaited_locks()
    seen["versions"] = {name: version_of(name) for name in VERSIONED if name in sys.modules}
    seen["roots"] = {name: root_of(name) for name in ("ray", "torch", "deepspeed")}
    seen["roots"]["stdlib"] = os.path.dirname(os.__file__)
    time.sleep(0)

    if request["env"]:
        seen.update(compare_environ(dict(os.environ), "self"))
        time.sleep(0)

    if request["deepspeed"]:
        seen.update(deepspeed(request["max_pause_ms"]))

    seen["pause_ms"] = (time.thread_time() - cpu_s) * 1000
    return seen


def version_of(name: str) -> str:
    return str(getattr(sys.modules[name], "__version__", "unknown"))


def root_of(name: str) -> str | None:
    file = getattr(sys.modules.get(name), "__file__", None)
    return os.path.dirname(file) if file else None


def deepspeed(max_pause_ms: float) -> dict[str, Any]:
    """Return the engine's description and step, or why there is none."""
    engine, why = find_engine(max_pause_ms)

    if engine is None:
        return {"deepspeed": None, "deepspeed_why": why, "step": None}

    time.sleep(0)
    described = None

    try:
        described = describe(engine)
    except Exception as error:
        why = f"this DeepSpeed keeps its engine differently: {type(error).__name__}: {error}"[:200]

    step = attempt(lambda: int(engine.global_steps))
    return {"deepspeed": described, "deepspeed_why": why, "step": step}
