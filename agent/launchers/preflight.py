"""What the doctor asks of a launcher: whether its cluster can be joined, and what works there."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.launchers.base import NodeReaderHost


class ClusterVersions(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster runs, what runs here, and how this process would join."""

    ray: str | None
    """None where the cluster does not say."""
    python: str | None
    our_ray: str
    our_python: str
    token: str
    """Where the token was found, "" if none is sent."""


class Preflight(Protocol):
    """A cluster that answers, before anything in it is used; closed by `close`."""

    def close(self) -> None: ...

    def versions(self) -> ClusterVersions: ...

    def nodes(self) -> list[NodeHandle]:
        """Return the nodes that are alive."""
        ...

    def join(self) -> NodeReaderHost:
        """Return what starts readers on nodes.

        Raises:
            InspectError: this process cannot join the cluster.
        """
        ...

    def try_in_process(self, reader: Any, until: float) -> Any:
        """Call a reader as a process of a job is called; return a reference to the answer.

        `join` must have succeeded before.

        Raises:
            CallFailed: such calls do not work here.
        """
        ...
