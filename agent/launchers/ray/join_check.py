"""Whether this process can join a cluster: is a raylet of it here, and will it talk to us?

`ray.init` waits 60 s for a raylet that it cannot see (it looks in /proc), and aborts the
process at a socket that it cannot open, and cannot even be interrupted while a raylet that is
stopped keeps it waiting; all are checked here first.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

from dsray_inspect.agent.errors import ClusterUnreachable, InspectError, PermissionMissing
from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.launchers.ray.local import Raylet, raylets

_SOCKET_S = 2.0


def check_membership(nodes: Iterable[NodeHandle]) -> None:
    """Return when one of the nodes is ours and its raylet can be talked to.

    Raises:
        ClusterUnreachable: no raylet of these nodes, or not its socket, is to be seen here.
        PermissionMissing: the raylet is another user's.
    """
    alive = {node.node_id for node in nodes if node.alive}
    seen = list(raylets())

    if seen and not all(raylet.node_id for raylet in seen):
        return  # an older Ray, which finds its node by other means

    ours = [raylet for raylet in seen if raylet.node_id in alive]

    if not ours:
        raise ClusterUnreachable(
            "No raylet of this cluster can be seen from here: this is another machine, or a "
            "container with a pid namespace of its own.",
            help_text="Run dsray-inspect on a node of the cluster, in Ray's container or in one "
            "that shares its processes and /tmp/ray.",
        )

    failures = [error for error in map(_socket_error, ours) if error is not None]

    if len(failures) == len(ours):
        raise failures[0]


def _socket_error(raylet: Raylet) -> InspectError | None:
    """Return why the raylet cannot be talked to, None when it can."""
    if _is_stopped(raylet.pid):
        return ClusterUnreachable(
            f"The raylet of this node (pid {raylet.pid}) is stopped, by a signal or a debugger.",
            help_text=f"kill -CONT {raylet.pid}        # lets it go on",
        )

    if not raylet.socket:
        return None

    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(_SOCKET_S)

        try:
            end.connect(raylet.socket)
        except PermissionError:
            return PermissionMissing(
                f"The raylet of this node is user {_owner(raylet.pid)}'s; its socket does not let "
                f"in user {os.geteuid()}.",
                help_text=f"Run dsray-inspect as user {_owner(raylet.pid)}.",
            )
        except FileNotFoundError:
            return ClusterUnreachable(
                f"The socket of this node's raylet is not to be seen from here: {raylet.socket}.",
                help_text="This looks like a container beside Ray's: mount Ray's /tmp/ray here too.",
            )
        except OSError as error:
            return ClusterUnreachable(
                f"The raylet of this node does not answer at {raylet.socket}: {error.strerror}.",
                help_text="Is it ending? `ray status` tells.",
            )

    return None


def _is_stopped(pid: int) -> bool:
    """Return whether a process is in state T or t, as /proc/PID/stat has it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][:1] in ("T", "t")
    except OSError:
        return False


def _owner(pid: int) -> str:
    try:
        return str(os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return "another"
