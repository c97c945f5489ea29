"""The launchers there are, by what a command line says. The only door to any of them."""

from __future__ import annotations

from dsray_inspect.agent.launchers.base import Launcher
from dsray_inspect.agent.launchers.preflight import Preflight
from dsray_inspect.agent.launchers.ray.connect import choose_address
from dsray_inspect.agent.launchers.ray.launcher import RayLauncher
from dsray_inspect.agent.launchers.ray.preflight import RayPreflight
from dsray_inspect.agent.launchers.ray.submission import submit

__all__ = ["choose_address", "open_launcher", "open_preflight", "submit"]


def open_launcher(address: str) -> Launcher:
    """Return the launcher that is connected to a cluster.

    Raises:
        ClusterUnreachable: nothing answers there.
        PermissionMissing: it wants a token that we do not have.
        VersionUnsupported: this environment cannot join it.
    """
    return RayLauncher(address)


def open_preflight(address: str) -> Preflight:
    """Return a cluster that answers, for the doctor to try.

    Raises:
        ClusterUnreachable: nothing answers there.
        PermissionMissing: it wants a token that we do not have.
    """
    return RayPreflight(address)
