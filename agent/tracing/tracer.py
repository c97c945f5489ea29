"""Installs probes in all ranks of a run, collects their spans, and removes the probes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dsray_inspect.agent.handles import ProcessHandle
from dsray_inspect.agent.launchers.base import CallFailed, InProcessReads, NodeReaderHost, Part
from dsray_inspect.agent.probes.install import install, uninstall
from dsray_inspect.agent.probes.wire import CAPACITY
from dsray_inspect.agent.remote.flight_recorder import recording
from dsray_inspect.agent.sampling.decode import group_members
from dsray_inspect.agent.tracing.capture import Rank, TraceCapture
from dsray_inspect.agent.tracing.collectives import entries
from dsray_inspect.agent.tracing.rings import Rings
from dsray_inspect.agent.unavailable import Unavailable

_LEASE_S = 15.0
"""How long a probe stays after its session has disappeared."""
_FIRST_LEASE_S = 30.0
"""The first lease is longer: the actor that renews it may have to be started first."""
_PERIOD_S = 0.5
_ANSWER_S = 6.0
_REMOVE_S = 3.0
_FIRST_READ_S = 1.0
"""When a recorder is read for the first time, to learn how quickly it fills up."""
_RECORDER_ENTRIES = 2000
"""The default capacity of a recorder."""
_READ_AHEAD = 0.7
"""The next read is due after this share of the time in which a recorder overwrites itself."""
_MIN_READ_RATIO = 100.0
"""Minimum ratio of read interval to read duration, so reads cost a rank at most 1 %."""


class Tracer:
    """One trace of one run; use it in a `with` block, at whose end no probe remains."""

    def __init__(
        self,
        reads: InProcessReads,
        host: NodeReaderHost | Unavailable,
        rows: Mapping[str, ProcessHandle],
        capture: TraceCapture,
        *,
        max_pause_ms: float,
    ) -> None:
        self._reads = reads
        self._rows = rows
        self._capture = capture
        self._max_pause_ms = max_pause_ms
        self._token = secrets.randbits(62)
        self._rings = Rings(host, token=self._token, lease_s=_LEASE_S)
        self._next_recording = 0.0

    def __enter__(self) -> Tracer:
        """Install a probe in every rank that answers."""
        try:
            self._install()
        except BaseException:
            # Ranks that have not answered may have installed a probe by now.
            for rank in self._capture.ranks:
                rank.is_out = False

            self._remove()
            raise

        return self

    def _install(self) -> None:
        request = {"token": self._token, "lease_s": _FIRST_LEASE_S, "capacity": CAPACITY}

        for rank, answer in self._ask(self._capture.ranks, [install], request, _ANSWER_S):
            if isinstance(answer, Unavailable):
                rank.probe = answer
            else:
                rank.probe = answer["probe"] or _failed(answer["probe_why"])
                rank.pause_ms = answer["pause_ms"]
                rank.is_out = answer["probe"] is None

        self._capture.from_ns = time.time_ns()

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _remove(self) -> None:
        """Remove all probes, and read their last records."""
        self._capture.until_ns = time.time_ns()

        for rank in self._capture.ranks:
            if rank.closed:
                self._capture.notes.append(
                    f"{rank.name}: its probe uninstalled itself early: its lease was not renewed in time."
                )

        probed = [rank for rank in self._capture.ranks if not rank.is_out]
        self._rings.wait(probed, _REMOVE_S)  # a ring not opened by now would be lost

        for rank, answer in self._ask(probed, [uninstall], {"token": self._token}, _REMOVE_S):
            if isinstance(answer, dict):
                rank.is_out, rank.covered = True, answer.get("covered", [])

        self._rings.collect(probed, last=True)

        for rank in probed:
            rank.is_out = rank.is_out or not rank.alive

        for node, why in self._rings.failed.items():
            self._capture.notes.append(f"node {node[:8]}: some spans could not be read: {why}")

    def collect_for(self, seconds: float) -> None:
        """Collect spans for this long."""
        end = time.monotonic() + seconds
        self._next_recording = time.monotonic() + _FIRST_READ_S

        while (now := time.monotonic()) < end and any(rank.alive for rank in self._capture.ranks):
            self._rings.collect(self._capture.ranks)

            if now >= self._next_recording:
                self.read_recorders()

            time.sleep(max(0.0, min(_PERIOD_S, end - time.monotonic())))

        self.read_recorders()

    def read_recorders(self) -> None:
        """Read the flight recorders of all ranks, and schedule the next read."""
        next_s = read_recorders(
            self._reads, self._rows, self._capture.ranks, max_pause_ms=self._max_pause_ms
        )
        self._next_recording = time.monotonic() + next_s

    def _ask(
        self,
        ranks: Sequence[Rank],
        parts: Sequence[Part],
        request: dict[str, Any],
        timeout_s: float,
    ) -> list[tuple[Rank, dict[str, Any] | Unavailable]]:
        return _run_in_ranks(
            self._reads, self._rows, ranks, parts=parts, request=request, timeout_s=timeout_s
        )


def _run_in_ranks(
    reads: InProcessReads,
    rows: Mapping[str, ProcessHandle],
    ranks: Sequence[Rank],
    *,
    parts: Sequence[Part],
    request: dict[str, Any],
    timeout_s: float,
) -> list[tuple[Rank, dict[str, Any] | Unavailable]]:
    """Run parts in all ranks concurrently; return each answer, or why there is none."""
    request = {**request, "until": time.time() + timeout_s + 1}
    sent: dict[str, Any] = {}
    failed: dict[str, CallFailed] = {}

    for rank in ranks:
        actor_id = rank.worker.actor_id

        try:
            sent[actor_id] = reads.send(rows[actor_id], parts, request)
        except CallFailed as failure:
            failed[actor_id] = failure

    answers = reads.answers(sent, timeout_s)
    return [(rank, _answer(rank, answers, failed, timeout_s)) for rank in ranks]


def _answer(
    rank: Rank, answers: Mapping[str, Any], failed: Mapping[str, CallFailed], timeout_s: float
) -> dict[str, Any] | Unavailable:
    actor_id = rank.worker.actor_id
    answer = answers.get(actor_id, failed.get(actor_id))

    if answer is None:
        detail = f"its main thread did not answer in {timeout_s:.0f} s"
        return Unavailable(reason="timeout", detail=detail)

    if isinstance(answer, dict):
        return _failed("; ".join(answer["failed"])) if "failed" in answer else answer

    is_dead = isinstance(answer, CallFailed) and answer.dead
    return Unavailable(reason="died", detail=str(answer)) if is_dead else _failed(str(answer))


def _failed(detail: str) -> Unavailable:
    return Unavailable(reason="failed", detail=detail)


def read_recorders(
    reads: InProcessReads,
    rows: Mapping[str, ProcessHandle],
    ranks: Sequence[Rank],
    *,
    max_pause_ms: float,
) -> float:
    """Add each rank's recording; return after how many seconds to read again."""
    live = [rank for rank in ranks if rank.alive]
    request = {"max_pause_ms": max_pause_ms}
    longest_ms, fill_s = 0.0, [3600.0]

    for rank, answer in _run_in_ranks(
        reads, rows, live, parts=[recording], request=request, timeout_s=_ANSWER_S
    ):
        if isinstance(answer, Unavailable):
            rank.no_recording = rank.no_recording if rank.recordings else answer
            continue

        no_recording = answer["no_recording"]
        rank.no_recording = msgspec.convert(no_recording, Unavailable | None)
        rank.pause_ms = max(rank.pause_ms, answer["pause_ms"])
        longest_ms = max(longest_ms, answer["pause_ms"])

        if answer["recording"] is not None:
            rank.recordings.append(answer["recording"])
            rank.group_ranks = {
                name: group_members(ranks) for name, ranks in answer["group_ranks"].items()
            }
            fill_s.append(_fill_time_s(answer["recording"]))

    return max(longest_ms / 1000 * _MIN_READ_RATIO, _READ_AHEAD * min(fill_s))


def _fill_time_s(raw: bytes) -> float:
    """Return how long a recorder takes to overwrite itself at its current pace."""
    newest = entries([raw])[-_RECORDER_ENTRIES // 4 :]

    if len(newest) < 2:
        return 3600.0

    return (newest[-1].start_ns - newest[0].start_ns) / 1e9 / (len(newest) - 1) * _RECORDER_ENTRIES
