"""The pipes and sockets that threads are blocked on, and who has the other end (stdlib only, sent by value).

The kernel says in `/proc/PID/task/TID/syscall` which call a thread is in, with its arguments
(proc(5)): to the process itself, and to whoever may trace it. The other end of a pipe is open in
another process under the same name; that of a TCP connection on the same host has its addresses the
other way round.
"""

from __future__ import annotations

import os
import platform
import re
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any

from dsray_inspect.agent.remote.gil import yield_gil
from dsray_inspect.agent.remote.sockets import address_of
from dsray_inspect.agent.remote.threads import program_of, start_of

SEARCH_S = 0.05
"""How long other processes may be searched for the other ends: it is CPU time of a rank."""
LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""The types of file systems that answer without a server."""
MAX_POLLED = 64
MAX_PEERS = 4
READ, WRITE, POLL, SELECT = "read", "write", "poll", "select"
CALLS = {
    "x86_64": {
        **dict.fromkeys((0, 19, 45, 47, 43, 288), READ),
        **dict.fromkeys((1, 20, 44, 46), WRITE),
        **dict.fromkeys((7, 271), POLL),
        **dict.fromkeys((23, 270), SELECT),
    },
    "aarch64": {
        **dict.fromkeys((63, 65, 207, 212, 202, 242), READ),
        **dict.fromkeys((64, 66, 206, 211), WRITE),
        73: POLL,
        72: SELECT,
    },
}
"""By number: read, readv, recvfrom, recvmsg, accept, accept4; write, writev, sendto, sendmsg; poll,
ppoll; select, pselect6 (<asm/unistd.h>)."""
_POLL_FD = "=ihh"
"""`struct pollfd`: file, events, revents."""
_ROW = re.compile(rb"^ *\d+: (\S+) (\S+) \S+" + rb" +\S+" * 5 + rb" +(\d+)", re.M)
"""A row of /proc/net/tcp: local and remote address, …, the inode."""


def blocked_calls(pid: int, tids: Iterable[int]) -> list[dict[str, Any]]:
    """Return thread, call, kind and name of each pipe or socket that these threads are blocked on.

    `name` is the path of a named pipe, or the remote address of a connection. `peers` are the
    processes with the other end, as far as they were found: pid and name.
    """
    calls = CALLS.get(platform.machine(), {})
    found = []

    for tid in tids:
        words = start_of(f"/proc/{pid}/task/{tid}/syscall").split()
        call = calls.get(int(words[0])) if len(words) > 3 and words[0].isdigit() else None

        if call is not None:
            arguments = int(words[1], 16), int(words[2], 16)
            found += [
                {"tid": tid, "call": WRITE if call == WRITE else READ, **end}
                for file in files_of(pid, call, *arguments)
                for end in end_of(pid, file)
            ]

    yield_gil()
    return with_peers(pid, found)


def files_of(pid: int, call: str, first: int, second: int) -> list[int]:
    """Return the files that a call with these first arguments waits for."""
    if call == POLL:
        size = struct.calcsize(_POLL_FD)
        block = memory_of(pid, first, size * min(second, MAX_POLLED))
        whole = block[: len(block) // size * size]
        return [file for file, _, _ in struct.iter_unpack(_POLL_FD, whole) if file >= 0]

    if call == SELECT:
        block = memory_of(pid, second, (min(first, 1024) + 7) // 8) if second else b""
        bits = int.from_bytes(block, "little")
        return [file for file in range(min(first, 1024)) if bits >> file & 1][:MAX_POLLED]

    return [first]


def memory_of(pid: int, address: int, size: int) -> bytes:
    """Return what a process has in its memory, nothing where it cannot be read."""
    try:
        file = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""

    try:
        return os.pread(file, size, address)
    except (OSError, OverflowError):
        return b""
    finally:
        os.close(file)


def end_of(pid: int, file: int) -> Iterator[dict[str, Any]]:
    """Yield what an open file is, if it is a pipe or a socket; `target` is what others have of it."""
    path = f"/proc/{pid}/fd/{file}"

    try:
        target = os.readlink(path)
    except OSError:
        return

    if target.startswith("pipe:"):
        yield {"kind": "pipe", "name": "", "target": target}
    elif target.startswith("socket:"):
        yield from _connection(pid, target)
    elif target.startswith("/") and is_local(pid, file) and _is_named_pipe(path):
        yield {"kind": "named pipe", "name": target, "target": target}


def is_local(pid: int, file: int) -> bool:
    """Return whether an open file is on a file system of this machine.

    A `stat` of any other may wait for a server for good, as the thread that reads it may.
    """
    found = re.search(rb"mnt_id:\s*(\d+)", start_of(f"/proc/{pid}/fdinfo/{file}"))

    if found is None:
        return False

    mount = re.search(rb"^%s .* - (\S+) " % found[1], _whole(f"/proc/{pid}/mountinfo"), re.M)
    return mount is not None and mount[1].decode() in LOCAL


def _is_named_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _connection(pid: int, target: str) -> Iterator[dict[str, Any]]:
    """Yield the connection that a socket is; its peer's socket is the target, where it is here."""
    inode = target[8:-1].encode()

    for table in ("tcp", "tcp6"):
        rows = _ROW.findall(_whole(f"/proc/{pid}/net/{table}"))
        inodes = {(local, remote): number for local, remote, number in rows}
        own = [(local, remote) for local, remote, number in rows if number == inode]

        for local, remote in own:
            peer = inodes.get((remote, local), b"").decode()
            host, port = address_of(remote.decode())
            shown = f"[{host}]" if ":" in host else host
            yield {
                "kind": "socket",
                "name": f"{shown}:{port}" if port else "",
                "target": f"socket:[{peer}]" if peer else "",
            }
            return

    yield {"kind": "socket", "name": "", "target": ""}


def _whole(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 22)
    except OSError:
        return b""


def with_peers(pid: int, ends: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ends with the processes that have the other one, in place of their targets."""
    wanted = {end["target"] for end in ends if end["target"]}
    holders = list(_holders(pid, wanted)) if wanted else []
    named = []

    for end in ends:
        target, writes = end.pop("target"), end["call"] == WRITE
        is_pipe = end["kind"] != "socket"
        pids = {
            holder
            for holder, held, mode in holders
            if held == target and not (is_pipe and mode == (os.O_WRONLY if writes else os.O_RDONLY))
        }
        peers = [{"pid": peer, "name": program_of(peer)} for peer in sorted(pids)[:MAX_PEERS]]
        named.append({**end, "peers": peers})

    return named


def _holders(pid: int, wanted: set[str]) -> Iterator[tuple[int, str, int]]:
    """Yield the other processes that have one of these open, and how: for reading or writing."""
    deadline = time.thread_time() + SEARCH_S

    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == pid:
            continue

        if time.thread_time() > deadline:
            return

        yield_gil()

        try:
            files = os.listdir(f"/proc/{entry}/fd")
        except OSError:
            continue

        for file in files:
            try:
                held = os.readlink(f"/proc/{entry}/fd/{file}")
            except OSError:
                continue

            if held in wanted:
                flags = re.search(rb"flags:\s*(\d+)", start_of(f"/proc/{entry}/fdinfo/{file}"))
                yield int(entry), held, int(flags[1], 8) & os.O_ACCMODE if flags else os.O_RDWR
