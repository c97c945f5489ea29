"""What a node reader, or a process itself, tells of one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from dsray_inspect.agent.model import Collective, Record
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable

ProcessState = Literal["alive", "stopped", "dead", "gone"]
"""`dead` is a zombie; `gone` has left the process table."""


class Identity(Record, frozen=True, kw_only=True):
    """The place of a process in its group, according to its own variables."""

    rank: int | None = None
    local_rank: int | None = None
    node_rank: int | None = None
    world_size: int | None = None


NO_IDENTITY = Identity()


class Environ(Record, frozen=True, kw_only=True):
    """The live environment of a process, redacted; see `remote.environ.compare_environ`."""

    variables: Mapping[str, str]
    set_after_exec: frozenset[str]
    from_parent: frozenset[str] | None
    """The variables that the raylet has too; None where its own could not be read."""


class ChildProcess(Record, frozen=True, kw_only=True):
    """A process below another one."""

    pid: int
    name: str
    state: str
    cpu_s: float


class MemoryLimits(Record, frozen=True, kw_only=True):
    """How much memory a process may use and uses; `whose` is the cgroup's folder, or "host"."""

    whose: str
    limit_bytes: int
    used_bytes: int
    oom_kills: int = 0


class FileLockWait(Record, frozen=True, kw_only=True):
    """A file lock that a process is blocked on."""

    kind: str
    """"flock", "posix" or "ofdlck"."""
    path: str | None
    holder: int
    """The pid of whoever has it, 0 where the kernel does not say."""
    holder_name: str


class Peer(Record, frozen=True, kw_only=True):
    """A process with the other end of a pipe or connection."""

    pid: int
    name: str


class BlockedCall(Record, frozen=True, kw_only=True):
    """A pipe or socket that a thread is blocked on; see `remote.blocked_calls`."""

    tid: int
    call: Literal["read", "write"]
    kind: Literal["pipe", "named pipe", "socket"]
    name: str
    """The path of a named pipe, or the remote address; empty where there is none."""
    peers: tuple[Peer, ...] = ()
    """Those that were found."""


class ActivityCounters(Record, frozen=True, kw_only=True):
    """What a process has done since it started; two of these tell what it did in between."""

    cpu_s: float
    moved_bytes: int
    """Bytes read and written, to files and to the network."""
    tracer: int = 0
    """The pid of the debugger that holds it, 0 for none."""
    children: tuple[ChildProcess, ...] = ()
    dials: tuple[str, ...] = ()
    """Addresses that it tries to connect to."""
    memory: MemoryLimits | None = None
    file_locks: tuple[FileLockWait, ...] = ()
    blocked_calls: tuple[BlockedCall, ...] = ()


class StackDump(Record, frozen=True, kw_only=True):
    """The threads of a process as read from outside, every frame labelled."""

    threads: tuple[Thread, ...]
    source: Literal["py-spy", "faulthandler"]
    pause_ms: float = 0.0
    note: str = ""
    """What could not be read although the rest was."""


NOT_DUMPED = Unavailable(reason="not_asked", detail="nobody looked at this process")


class RecorderReport(Record, frozen=True, kw_only=True):
    """What torch's flight recorder holds of a process's collectives."""

    collectives: tuple[Collective, ...]
    """The newest of each process group."""
    longest_gap_s: float | None = None
    """The longest time without a new one of late."""
    newest_age_s: float | None = None
    """Seconds since the newest entry of its flight recorder, messages between two ranks included."""
    arrivals: Mapping[str, Sequence[tuple[int, int]]] = {}
    """By process group: (sequence, Unix ns) of the newest collectives."""

    def older(self, by_s: float) -> RecorderReport:
        """Return the same entries, which have become older."""
        return msgspec.structs.replace(
            self,
            collectives=older_collectives(self.collectives, by_s),
            newest_age_s=None if self.newest_age_s is None else self.newest_age_s + by_s,
        )


def older_collectives(entries: Sequence[Collective], by_s: float) -> tuple[Collective, ...]:
    return tuple(msgspec.structs.replace(entry, age_s=entry.age_s + by_s) for entry in entries)


class ProcessProbe(Record, frozen=True, kw_only=True):
    """One process as its node sees it. What was not read is None, empty or `Unavailable`."""

    state: ProcessState | None = None
    rss_bytes: int | None = None
    command: str = ""
    idle_s: Mapping[int, float] = {}
    """By thread id: seconds since the kernel last ran the thread."""
    cpu_times_s: Mapping[int, tuple[float | None, float | None]] = {}
    """By thread id: seconds that the thread has run, and has queued for a CPU."""
    counters: ActivityCounters | None = None
    children: tuple[int, ...] = ()
    """The pids below it, where their stacks were asked for."""
    stack: StackDump | Unavailable = NOT_DUMPED
    earlier_stack: StackDump | None = None
    """The first of two dumps in one sample: whoever keeps the GIL is in the same place in both."""
    environ: Environ | Unavailable = NOT_ASKED
    recorder: RecorderReport | Unavailable = NOT_ASKED
    """Read from the process's memory."""
    start: str | None = None
    """The record of its start; see `remote.startup_record`."""
    identity: Identity = NO_IDENTITY

    def older(self, by_s: float) -> ProcessProbe:
        """Return the probe as it would be now: the same, but for what is told as an age."""
        recorder = self.recorder
        return msgspec.structs.replace(
            self,
            idle_s={tid: idle_s + by_s for tid, idle_s in self.idle_s.items()},
            recorder=recorder if isinstance(recorder, Unavailable) else recorder.older(by_s),
        )

    def updated(self, newer: ProcessProbe) -> ProcessProbe:
        """Return this probe with whatever a newer one of the same process has read."""
        read = {
            name: value
            for name in self.__struct_fields__
            if was_read(value := getattr(newer, name))
        }

        if isinstance(self.stack, StackDump) and "stack" in read:
            read["earlier_stack"] = self.stack

        return msgspec.structs.replace(self, **read)


def was_read(value: Any) -> bool:
    if isinstance(value, Unavailable):
        return value.reason != "not_asked"

    return value is not None and value is not NO_IDENTITY and value not in ({}, (), "")


NOT_PROBED = ProcessProbe()
