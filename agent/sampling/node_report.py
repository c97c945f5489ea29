"""What the reader on a node tells of it: rung 3."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dsray_inspect.agent.model import Gpu, LogFile, Record
from dsray_inspect.agent.sampling.process_probe import NOT_PROBED, ProcessProbe, was_read
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable


class SpilledObjects(Record, frozen=True, kw_only=True):
    """What the node's object store has moved to disk so far."""

    bytes: int
    newest_s: float | None
    """Seconds since it last did; None for never."""


class LogTail(Record, frozen=True, kw_only=True):
    """The ends of one worker's log files; `why` is "ok" or why one is missing."""

    files: tuple[LogFile, ...]
    why: str


class TrainLogMessage(Record, frozen=True, kw_only=True):
    """One message of Ray Train's controller about its worker groups, at a Unix time."""

    at: float
    message: str


class PostMortem(Record, frozen=True, kw_only=True):
    """What a node keeps of processes that have ended; see `remote.postmortem`."""

    train_log: tuple[TrainLogMessage, ...] = ()
    """Oldest first, on the controller's node only."""
    last_words: Mapping[str, tuple[str, ...]] = {}
    """By worker id: the telling lines at the end of its stderr."""
    oom_killed: frozenset[int] = frozenset()
    """The pids that the kernel killed for memory."""
    interfaces: tuple[str, ...] = ()
    """The node's network interfaces."""


class NodeReport(Record, frozen=True, kw_only=True):
    """One node's answer, or several of one sample put together."""

    hostname: str
    processes: Mapping[int, ProcessProbe] = {}
    """By pid."""
    gpus: tuple[Gpu, ...] | Unavailable = NOT_ASKED
    spilled: SpilledObjects | None = None
    post_mortem: PostMortem | None = None
    logs: Mapping[str, LogTail] = {}
    """By worker id."""

    def process(self, pid: int) -> ProcessProbe:
        return self.processes.get(pid, NOT_PROBED)

    def updated(self, newer: NodeReport) -> NodeReport:
        """Return this report with whatever a newer one of the same node has read."""
        probes = {pid: self.process(pid).updated(probe) for pid, probe in newer.processes.items()}
        return msgspec.structs.replace(
            newer,
            processes={**self.processes, **probes},
            gpus=newer.gpus if was_read(newer.gpus) else self.gpus,
            post_mortem=newer.post_mortem or self.post_mortem,
            logs={**self.logs, **newer.logs},
        )

    def with_process(self, pid: int, probe: ProcessProbe) -> NodeReport:
        return msgspec.structs.replace(self, processes={**self.processes, pid: probe})
