"""What is run in a training process: reads of itself (stdlib only, sent by value).

They run on the worker's main thread between Ray's own tasks. They start no thread, open no
socket, patch nothing and leave nothing behind, and they give way to the training thread
again and again.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from typing import Any

from dsray_inspect.agent.remote.activity_counters import activity_counters
from dsray_inspect.agent.remote.engine import describe
from dsray_inspect.agent.remote.engine_lookup import attempts, find_engine
from dsray_inspect.agent.remote.environ import compare_environ
from dsray_inspect.agent.remote.gil import yield_gil
from dsray_inspect.agent.remote.locks import awaited_locks
from dsray_inspect.agent.remote.recorder_state import recorder_status, state_of
from dsray_inspect.agent.remote.sockets import own_traffic
from dsray_inspect.agent.remote.threads import all_threads
from dsray_inspect.agent.remote.training_health import health
from dsray_inspect.agent.remote.unavailable import unavailable

_IDENTITY = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")
IDLE_S = 1.0
_VERSIONED = ("ray", "torch", "deepspeed", "transformers", "accelerate")


def process(_actor: Any, request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Return the process's threads, its place in the group, and what it waits for.

    `request`: `environment` and `recorder_state`, of an earlier answer whose variables and
    collectives are known.
    """
    threads = all_threads()
    yield_gil()
    locks = awaited_locks()
    env_state = hash(frozenset(os.environ.items()))
    unchanged = {
        "environment": env_state == request["environment"],
        "collectives": request["recorder_state"] is not None
        and request["recorder_state"] == state_of(recorder_status()),
    }
    roots = {name: _root_of(name) for name in ("ray", "torch", "deepspeed")}
    return {
        "pid": os.getpid(),
        "threads": threads,
        "hostname": socket.gethostname(),
        "identity": {name: os.environ[name] for name in _IDENTITY if name in os.environ},
        "locks": locks,
        "env_state": env_state,
        "unchanged": [name for name, is_so in unchanged.items() if is_so],
        "versions": {name: _version_of(name) for name in _VERSIONED if name in sys.modules},
        "roots": {**roots, "stdlib": os.path.dirname(os.__file__)},
    }


def environment(_actor: Any, _request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Return the live variables, redacted, and where they come from."""
    return {"environ": compare_environ(dict(os.environ), "self")}


def step(_actor: Any, request: dict[str, Any], so_far: dict[str, Any]) -> dict[str, Any]:
    """Return the engine's step, if a frame knows it: for a caller that knows the engine."""
    engine, why = find_engine(0.0, moments(request, so_far))
    return {"deepspeed": unavailable("failed", why), **_numbers(engine, moments(request, so_far))}


def deepspeed(_actor: Any, request: dict[str, Any], so_far: dict[str, Any]) -> dict[str, Any]:
    """Return the engine's description and step, or why there is none.

    `request`: `max_pause_ms`, that a search of all objects may stop the rank for, and
    `patience_s`, that this answer may take longer to see a method of the engine run.
    """
    engine, why = find_engine(request["max_pause_ms"], moments(request, so_far))

    if engine is None:
        return {"deepspeed": unavailable("failed", why), "step": None}

    yield_gil()

    try:
        described = describe(engine)
    except Exception as error:
        why = f"this DeepSpeed keeps its engine differently: {type(error).__name__}: {error}"[:200]
        described = unavailable("failed", why)

    return {"deepspeed": described, **_numbers(engine, moments(request, so_far))}


def moments(request: dict[str, Any], so_far: dict[str, Any]) -> Iterable[None]:
    """Return when to read the frames: once where no thread has run of late."""
    return (None,) if all_idle(so_far["threads"]) else attempts(request["patience_s"])


def _numbers(engine: Any, moments: Iterable[None] = (None,)) -> dict[str, Any]:
    """Return what changes in an engine from step to step."""
    return {"step": _step_of(engine), "health": health(engine, moments)}


def counters(_actor: Any, _request: dict[str, Any], so_far: dict[str, Any]) -> dict[str, Any]:
    """Return what this process has done so far, and what its Python threads are blocked on.

    See `remote.activity_counters`.
    """
    tids = [thread["tid"] for thread in so_far["threads"] if thread["tid"] is not None]
    return {"counters": activity_counters(os.getpid(), own_traffic(), tids=tids)}


def _step_of(engine: Any) -> int | None:
    count = getattr(engine, "global_steps", None)
    return count if isinstance(count, int) else None


def all_idle(threads: list[dict[str, Any]]) -> bool:
    """Return whether no thread has run of late: its frames are the same at the next sample."""
    return all(thread["idle_s"] is not None and thread["idle_s"] >= IDLE_S for thread in threads)


def _version_of(name: str) -> str:
    return str(getattr(sys.modules[name], "__version__", "unknown"))


def _root_of(name: str) -> str | None:
    file = getattr(sys.modules.get(name), "__file__", None)
    return os.path.dirname(file) if file else None
