"""Which Ray clusters run on this machine, and how they want to be talked to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import msgspec

GCS_ADDRESS = re.compile(r"--gcs-address=(\S+)")


class LocalCluster(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster with a raylet on this machine.

    `home` is the home folder of the user who started it, where a token of its own would lie.
    """

    address: str
    raylet_pid: int
    auth_mode: str | None
    home: str | None


def find_clusters() -> list[LocalCluster]:
    """Return the clusters whose raylets share our network namespace, one entry each."""
    found: dict[str, LocalCluster] = {}

    for pid, command in raylets():
        address = GCS_ADDRESS.search(command)

        if address and same_network(pid):
            variables = environ_of(pid)
            found.setdefault(
                address.group(1),
                LocalCluster(
                    address=address.group(1),
                    raylet_pid=pid,
                    auth_mode=variables.get("RAY_AUTH_MODE"),
                    home=variables.get("HOME"),
                ),
            )

    return sorted(found.values(), key=lambda cluster: cluster.address)


def raylets() -> Iterator[tuple[int, str]]:
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue

        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
        except OSError:
            continue

        if arguments[0].endswith(b"/raylet"):
            yield int(entry), b" ".join(arguments).decode("utf-8", "replace")


def same_network(pid: int) -> bool:
    """Return whether a process is in our network namespace; yes where we may not know."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return True


def environ_of(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            block = file.read().decode("utf-8", "replace")
    except OSError:
        return {}

    return dict(entry.split("=", 1) for entry in block.split("\0") if "=" in entry)
