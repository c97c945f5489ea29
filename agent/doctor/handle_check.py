"""Tests whether this Ray allows calls by a forged handle, on an actor of the doctor's own."""

from __future__ import annotations

import time
from typing import Any

from dsray_inspect.agent.handles import ProcessHandle
from dsray_inspect.agent.launchers.base import CallFailed
from dsray_inspect.agent.launchers.ray.actor_calls import ActorCalls
from dsray_inspect.agent.launchers.ray.gcs import Gcs
from dsray_inspect.agent.remote.doctor_probe import hello

REGISTERED_S = 5.0
POLL_S = 0.02


def try_handle(calls: ActorCalls, gcs: Gcs, agent: Any, until: float) -> Any:
    """Forge a handle from an actor's table entry and call it; return a reference to the result.

    Raises:
        CallFailed: This Ray does not allow it.
    """
    return calls.send(_registered_row(gcs, agent), (hello,), {"until": until})


def _registered_row(gcs: Gcs, agent: Any) -> ProcessHandle:
    """Wait until the actor table has the actor, and return its entry."""
    actor_id, job_id = agent._actor_id.hex(), agent._actor_id.job_id.hex()
    deadline = time.monotonic() + REGISTERED_S

    while time.monotonic() < deadline:
        for row in gcs.actors(job_id):
            if row.actor_id == actor_id:
                return row

        time.sleep(POLL_S)

    raise CallFailed(f"the GCS did not register an actor in {REGISTERED_S:.0f} s")
