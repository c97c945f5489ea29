"""Which Ray clusters run on this machine, and how they want to be talked to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import msgspec

from dsray_inspect.agent.compat import ray as shelf

_GCS_ADDRESS = re.compile(rf"{shelf.GCS_ADDRESS_FLAG}=(\S+)")
_LOG_FOLDER = re.compile(rf"{shelf.LOG_FOLDER_FLAG}=(\S+)")


class LocalCluster(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster with a raylet on this machine; `logs` is the folder of its log files."""

    address: str
    raylet_pid: int
    logs: str | None


class Raylet(msgspec.Struct, frozen=True, kw_only=True):
    """A raylet on this machine; an older Ray's does not say its node, nor its socket."""

    pid: int
    node_id: str
    socket: str
    command: str


def find_clusters() -> list[LocalCluster]:
    """Return the clusters whose raylets share our network namespace, one entry each."""
    found: dict[str, LocalCluster] = {}

    for raylet in raylets():
        address = _GCS_ADDRESS.search(raylet.command)

        if address and _same_network(raylet.pid):
            logs = _LOG_FOLDER.search(raylet.command)
            found.setdefault(
                address.group(1),
                LocalCluster(
                    address=address.group(1),
                    raylet_pid=raylet.pid,
                    logs=logs.group(1) if logs else None,
                ),
            )

    return sorted(found.values(), key=lambda cluster: cluster.address)


def tokens_of(cluster: LocalCluster) -> Iterator[dict[str, str]]:
    """Yield the variables by which Ray finds the token that a cluster's own raylet has."""
    variables = _environ_of(cluster.raylet_pid)
    home = variables.get("HOME")
    path = variables.get(shelf.TOKEN_PATH_VARIABLE) or (
        home and os.path.join(home, shelf.TOKEN_FILE)
    )

    if token := variables.get(shelf.TOKEN_VARIABLE):
        yield {shelf.TOKEN_VARIABLE: token}
    elif path and os.access(path, os.R_OK):
        yield {shelf.TOKEN_PATH_VARIABLE: path}


def raylets() -> Iterator[Raylet]:
    """Yield the raylets that can be seen from here."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue

        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
        except OSError:
            continue

        if arguments[0].endswith(shelf.RAYLET_PROGRAM.encode()):
            words = [word.decode("utf-8", "replace") for word in arguments]
            flags = dict(word.partition("=")[::2] for word in words if word.startswith("--"))
            yield Raylet(
                pid=int(entry),
                node_id=flags.get(shelf.NODE_ID_FLAG, ""),
                socket=flags.get(shelf.RAYLET_SOCKET_FLAG, ""),
                command=" ".join(words),
            )


def _same_network(pid: int) -> bool:
    """Return whether a process is in our network namespace; yes where we may not know."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return True


def _environ_of(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            block = file.read().decode("utf-8", "replace")
    except OSError:
        return {}

    return dict(entry.split("=", 1) for entry in block.split("\0") if "=" in entry)
