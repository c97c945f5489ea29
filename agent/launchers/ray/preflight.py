"""Ray before it is joined, for the doctor; see `launchers.preflight.Preflight`."""

from __future__ import annotations

import time
from typing import Any

from dsray_inspect.agent.handles import NodeHandle, ProcessHandle
from dsray_inspect.agent.launchers.base import CallFailed
from dsray_inspect.agent.launchers.preflight import ClusterVersions
from dsray_inspect.agent.launchers.ray.actor_calls import ActorCalls
from dsray_inspect.agent.launchers.ray.connect import connect
from dsray_inspect.agent.launchers.ray.gcs import Gcs
from dsray_inspect.agent.launchers.ray.join_check import check_membership
from dsray_inspect.agent.launchers.ray.token import token_source
from dsray_inspect.agent.launchers.ray.versions import (
    check_versions,
    cluster_versions,
    our_versions,
)
from dsray_inspect.agent.remote.doctor_probe import hello

_REGISTERED_S = 5.0
_POLL_S = 0.02


class RayPreflight:
    """One Ray cluster; with `calls` it has been joined already, and stays so when this is closed."""

    def __init__(self, address: str, *, calls: ActorCalls | None = None) -> None:
        connect(address)
        self._address = address
        self._gcs = Gcs(address)
        self._calls = calls
        self._is_own = calls is None

    def close(self) -> None:
        if self._calls is not None and self._is_own:
            self._calls.close()

    def versions(self) -> ClusterVersions:
        ours, theirs = our_versions(), cluster_versions(self._address)
        return ClusterVersions(
            ray=theirs.ray if theirs else None,
            python=theirs.python if theirs else None,
            our_ray=ours.ray,
            our_python=ours.python,
            token=token_source(),
        )

    def nodes(self) -> list[NodeHandle]:
        return [node for node in self._gcs.nodes() if node.alive]

    def join(self) -> ActorCalls:
        check_versions(self._address)
        check_membership(self.nodes())
        self._calls = self._calls or ActorCalls(self._address)
        return self._calls

    def try_in_process(self, reader: Any, until: float) -> Any:
        """Forge a handle from an actor's table entry and call it."""
        assert self._calls is not None
        return self._calls.send(self._registered(reader), (hello,), {"until": until})

    def _registered(self, reader: Any) -> ProcessHandle:
        """Wait until the actor table has the actor, and return its entry."""
        actor_id, job_id = reader._actor_id.hex(), reader._actor_id.job_id.hex()
        deadline = time.monotonic() + _REGISTERED_S

        while time.monotonic() < deadline:
            for row in self._gcs.actors(job_id):
                if row.actor_id == actor_id:
                    return row

            time.sleep(_POLL_S)

        raise CallFailed(f"the GCS did not register an actor in {_REGISTERED_S:.0f} s")
