"""The launchers there are, by what a command line says. The only door to any of them."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.launchers.base import Launcher
from dsray_inspect.agent.launchers.local.launcher import LocalLauncher
from dsray_inspect.agent.launchers.preflight import Preflight
from dsray_inspect.agent.launchers.ray import connect
from dsray_inspect.agent.launchers.ray.launcher import RayLauncher
from dsray_inspect.agent.launchers.ray.preflight import RayPreflight
from dsray_inspect.agent.launchers.ray.submission import submit

__all__ = ["choose_address", "open_launcher", "open_preflight", "submit"]
_LOCAL: Final = LocalLauncher.address


def choose_address(flag: str | None, *, is_local: bool = False) -> str:
    """Return where to look: this machine's own ranks, or the address of a cluster."""
    return _LOCAL if is_local else connect.choose_address(flag)


def open_launcher(address: str) -> Launcher:
    """Return the launcher that is connected to a cluster, or to this machine.

    Raises:
        ClusterUnreachable: nothing answers there.
        PermissionMissing: it wants a token that we do not have.
        VersionUnsupported: this environment cannot join it.
    """
    return LocalLauncher() if address == _LOCAL else RayLauncher(address)


def open_preflight(address: str) -> Preflight:
    """Return a cluster that answers, for the doctor to try.

    Raises:
        ClusterUnreachable: nothing answers there.
        PermissionMissing: it wants a token that we do not have.
    """
    return RayPreflight(address)
