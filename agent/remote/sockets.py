"""A process's TCP connections, asked of the kernel (stdlib only, sent by value).

`sock_diag(7)` gives all of a network namespace in one answer, with the bytes that each has moved.
Where it may not be used, /proc tells the addresses at least. Both walk through a table of the whole
host, which takes milliseconds; a process that reads itself asks its own sockets.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import socket
import struct
from collections.abc import Iterator

from dsray_inspect.agent.remote.gil import yield_gil

NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP_REQUEST = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
ESTABLISHED, SYN_SENT = 1, 2
_INET_DIAG_INFO = 2
_HEADER = "=IHHII"
"""`struct nlmsghdr`: length, type, flags, …"""
_SOCKET = "=BBBBHH16s16sI8s4xIIII"
"""`struct inet_diag_msg`: family, state, …, the remote port and address, …, the inode."""
HEADER_BYTES, SOCKET_BYTES = struct.calcsize(_HEADER), struct.calcsize(_SOCKET)
_BYTES_AT = 120
"""Of `bytes_acked` and `bytes_received` in `struct tcp_info`."""
_INFO_BYTES = 256
_PATIENCE_S = 0.5
_ANSWER_BYTES = 1 << 14
_HEX_V4 = 8
_MAPPED = "::ffff:"
"""What an IPv4 address begins with as one of IPv6."""
_DIALLING = re.compile(rb"^ *\d+: \S+ (\S+) 02" + rb" +\S+" * 5 + rb" +(\d+)", re.M)
"""A row of /proc/net/tcp in the state SYN_SENT: remote address and inode. All else is skipped: the
file has the connections of every rank of the node."""

Traffic = tuple[list[str], int]
"""The addresses that a process waits for an answer from, and the bytes that it has moved."""
Connections = dict[int, tuple[str, int]]
"""By inode: whom a connection without an answer dials, else "", and the bytes it has moved."""
Tables = dict[str, Connections]
"""By network namespace. The processes of one sample share them."""


def traffic(pid: int, tables: Tables) -> Traffic:
    """Return what a process dials and has moved, as others can see it."""
    namespace = _namespace_of(pid)

    if namespace not in tables:
        tables[namespace] = _connections(pid)

    return _of_process(pid, tables[namespace])


def own_traffic() -> Traffic:
    """Return what this process dials and has moved; no socket is opened for it.

    `TCP_INFO` begins with the state of a connection. Whom it dials must be looked up.
    """
    libc, info = ctypes.CDLL(None), ctypes.create_string_buffer(_INFO_BYTES)
    is_dialling, moved = False, 0

    for name in os.listdir("/proc/self/fd"):
        size = ctypes.c_uint(_INFO_BYTES)
        level, option = socket.IPPROTO_TCP, socket.TCP_INFO

        if libc.getsockopt(int(name), level, option, info, ctypes.byref(size)) == 0:
            is_dialling |= info.raw[0] == SYN_SENT
            moved += sum(struct.unpack_from("=QQ", info.raw, _BYTES_AT))

    pid = os.getpid()
    return (_of_process(pid, _listed(pid))[0] if is_dialling else []), moved


def _of_process(pid: int, known: Connections) -> Traffic:
    own = [known[inode] for inode in _sockets(pid) if inode in known] if known else []
    return sorted({dialled for dialled, _ in own if dialled}), sum(moved for _, moved in own)


def _namespace_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return f"that of {pid}"


def _connections(pid: int) -> Connections:
    """Return the connections in the network namespace of a process."""
    if _namespace_of(pid) == _namespace_of(os.getpid()):
        with contextlib.suppress(OSError):
            return _dumped()

    return _listed(pid)


def _sockets(pid: int) -> list[int]:
    """Return the inodes of a process's sockets."""
    found = []

    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []

    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue

        if target.startswith("socket:["):
            found.append(int(target[8:-1]))

    return found


def _dumped() -> Connections:
    """Ask the kernel for this namespace's connections.

    Raises:
        OSError: it does not answer such questions here.
    """
    found: Connections = {}

    for family in (socket.AF_INET, socket.AF_INET6):
        for message in _answers(family):
            found.update([_connection(message)])

    return found


def _answers(family: int) -> Iterator[bytes]:
    """Yield one `inet_diag_msg` with its attributes for each connection of a family."""
    states = 1 << ESTABLISHED | 1 << SYN_SENT
    ask = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), states)
    head = struct.pack(_HEADER, HEADER_BYTES + len(ask), _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 0, 0)

    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as end:
        end.settimeout(_PATIENCE_S)
        end.sendto(head + ask, (0, 0))

        while True:
            answer = end.recv(_ANSWER_BYTES)

            while len(answer) >= HEADER_BYTES:
                size, kind, *_ = struct.unpack_from(_HEADER, answer)

                if kind == NLMSG_DONE:
                    return

                if kind == NLMSG_ERROR or size < HEADER_BYTES:
                    raise OSError("the kernel does not list sockets")

                yield answer[HEADER_BYTES:size]
                answer = answer[size + -size % 4 :]

            yield_gil()


def _connection(message: bytes) -> tuple[int, tuple[str, int]]:
    """Return the inode of a socket, whom it dials, and the bytes it has moved."""
    family, state, _, _, _, port, _, host, _, _, _, _, _, inode = struct.unpack_from(
        _SOCKET, message
    )
    dials = ""

    if state == SYN_SENT:
        packed = host[:4] if family == socket.AF_INET else host
        shown = socket.inet_ntop(family, packed).removeprefix(_MAPPED)
        dials = f"{shown}:{socket.ntohs(port)}"

    return inode, (dials, moved_bytes(message[SOCKET_BYTES:]))


def moved_bytes(attributes: bytes) -> int:
    """Return the bytes acknowledged and received, from the attribute that holds `tcp_info`."""
    while len(attributes) >= 4:
        size, kind = struct.unpack_from("=HH", attributes)

        if kind == _INET_DIAG_INFO and size >= 4 + _BYTES_AT + 16:
            return sum(struct.unpack_from("=QQ", attributes, 4 + _BYTES_AT))

        attributes = attributes[max(4, size + -size % 4) :]

    return 0


def _listed(pid: int) -> Connections:
    """Read the connections that wait for their first answer from /proc/PID/net."""
    waiting: Connections = {}

    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{name}", "rb") as file:
                rows = _DIALLING.findall(file.read())
        except OSError:
            continue

        for remote, inode in rows:
            host, port = address_of(remote.decode())
            waiting[int(inode)] = f"{host}:{port}", 0

    return waiting


def address_of(raw: str) -> tuple[str, int]:
    """Return "10.0.0.1" and 29500 for /proc's "0100000A:733C"."""
    host, _, port = raw.partition(":")
    words = [int(host[start : start + 8], 16) for start in range(0, len(host), 8)]
    family = socket.AF_INET if len(host) == _HEX_V4 else socket.AF_INET6
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(family, packed).removeprefix(_MAPPED), int(port, 16)
