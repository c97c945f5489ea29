"""Switches spans on in all ranks of a run, brings them home, and switches them off again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

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

LEASE_S = 15.0
"""So long a probe stays when its session is gone without a word."""
FIRST_LEASE_S = 30.0
"""The first one is longer: an actor that renews it must be started on another node."""
PERIOD_S = 0.5
ANSWER_S = 6.0
LEAVE_S = 3.0
SETTLED_S = 1.0
"""After so long a recorder is read for the first time: it tells how soon it is full."""
RECORDED = 2000
"""What a recorder holds by default."""
EARLY = 0.7
"""It is read again after this part of the time in which it is written anew."""
PAUSES = 100.0
"""Between two reads lies at least so many times what one of them held the rank."""


class Tracer:
    """One trace of one run; use it in a `with` block, at whose end no probe is left."""

    def __init__(
        self,
        reads: InProcessReads,
        host: NodeReaderHost | Unavailable,
        rows: Mapping[str, ProcessHandle],
        harvest: TraceCapture,
        *,
        max_pause_ms: float,
    ) -> None:
        self._reads = reads
        self._rows = rows
        self._harvest = harvest
        self._max_pause_ms = max_pause_ms
        self._token = secrets.randbits(62)
        self._rings = Rings(host, token=self._token, lease_s=LEASE_S)
        self._next_recording = 0.0

    def __enter__(self) -> Tracer:
        """Put a probe into every rank that answers."""
        try:
            self._put_in()
        except BaseException:
            for rank in self._harvest.ranks:  # who has not answered may have one by now
                rank.is_out = False

            self.__exit__(None, None, None)
            raise

        return self

    def _put_in(self) -> None:
        request = {"token": self._token, "lease_s": FIRST_LEASE_S, "capacity": CAPACITY}

        for rank, answer in self._ask(self._harvest.ranks, [install], request, ANSWER_S):
            rank.probe = answer if isinstance(answer, str) else answer["probe"]

            if isinstance(answer, dict):
                rank.probe = answer["probe"] or answer["probe_why"]
                rank.pause_ms = answer["pause_ms"]
                rank.is_out = answer["probe"] is None

        self._harvest.from_ns = time.time_ns()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take all probes out, and read what they wrote last."""
        self._harvest.until_ns = time.time_ns()

        for rank in self._harvest.ranks:
            if rank.closed:
                self._harvest.notes.append(
                    f"{rank.name}: its probe left early: nobody renewed its lease in time."
                )

        inside = [rank for rank in self._harvest.ranks if not rank.is_out]
        self._rings.wait(inside, LEAVE_S)  # a ring that was never opened would be gone

        for rank, answer in self._ask(inside, [uninstall], {"token": self._token}, LEAVE_S):
            if isinstance(answer, dict):
                rank.is_out, rank.covered = True, answer.get("covered", [])

        self._rings.collect(inside, last=True)

        for rank in inside:
            rank.is_out = rank.is_out or not rank.alive

        for node, why in self._rings.failed.items():
            self._harvest.notes.append(f"node {node[:8]}: some spans could not be read: {why}")

    def watch(self, seconds: float) -> None:
        """Collect for so long."""
        end = time.monotonic() + seconds
        self._next_recording = time.monotonic() + SETTLED_S

        while (now := time.monotonic()) < end and any(one.alive for one in self._harvest.ranks):
            self._rings.collect(self._harvest.ranks)

            if now >= self._next_recording:
                self.read_recorders()

            time.sleep(max(0.0, min(PERIOD_S, end - time.monotonic())))

        self.read_recorders()

    def read_recorders(self) -> None:
        """Read the flight recorder of every rank, and plan when it must be read again."""
        read = read_recorders(
            self._reads, self._rows, self._harvest.ranks, max_pause_ms=self._max_pause_ms
        )
        self._next_recording = time.monotonic() + read

    def _ask(
        self,
        ranks: Sequence[Rank],
        parts: Sequence[Part],
        request: dict[str, Any],
        timeout_s: float,
    ) -> list[tuple[Rank, dict[str, Any] | str]]:
        return ask(
            self._reads, self._rows, ranks, parts=parts, request=request, timeout_s=timeout_s
        )


def ask(
    reads: InProcessReads,
    rows: Mapping[str, ProcessHandle],
    ranks: Sequence[Rank],
    *,
    parts: Sequence[Part],
    request: dict[str, Any],
    timeout_s: float,
) -> list[tuple[Rank, dict[str, Any] | str]]:
    """Run parts in all ranks at once; returns each answer, or why there is none."""
    request = {**request, "until": time.time() + timeout_s + 1}
    sent: dict[str, Any] = {}
    failed: dict[str, str] = {}

    for rank in ranks:
        actor_id = rank.worker.actor_id

        try:
            sent[actor_id] = reads.send(rows[actor_id], parts, request)
        except CallFailed as failure:
            failed[actor_id] = str(failure)

    answers = reads.answers(sent, timeout_s)
    return [(rank, answer_of(rank, answers, failed, timeout_s)) for rank in ranks]


def answer_of(
    rank: Rank, answers: Mapping[str, Any], failed: Mapping[str, str], timeout_s: float
) -> dict[str, Any] | str:
    actor_id = rank.worker.actor_id
    answer = answers.get(actor_id, failed.get(actor_id))

    if answer is None:
        return f"its main thread did not answer in {timeout_s:.0f} s"

    if isinstance(answer, dict) and "failed" not in answer:
        return answer

    return "; ".join(answer["failed"]) if isinstance(answer, dict) else str(answer)


def read_recorders(
    reads: InProcessReads,
    rows: Mapping[str, ProcessHandle],
    ranks: Sequence[Rank],
    *,
    max_pause_ms: float,
) -> float:
    """Add each rank's recording, and return after how many seconds the next should follow."""
    living = [rank for rank in ranks if rank.alive]
    request = {"max_pause_ms": max_pause_ms}
    longest_ms, full_s = 0.0, [3600.0]

    for rank, answer in ask(
        reads, rows, living, parts=[recording], request=request, timeout_s=ANSWER_S
    ):
        if isinstance(answer, str):
            rank.recording_why = rank.recording_why if rank.recordings else answer
            continue

        rank.recording_why = answer["recording_why"]
        rank.pause_ms = max(rank.pause_ms, answer["pause_ms"])
        longest_ms = max(longest_ms, answer["pause_ms"])

        if answer["recording"] is not None:
            rank.recordings.append(answer["recording"])
            rank.group_ranks = {
                name: group_members(told) for name, told in answer["group_ranks"].items()
            }
            full_s.append(seconds_to_fill(answer["recording"]))

    return max(longest_ms / 1000 * PAUSES, EARLY * min(full_s))


def seconds_to_fill(raw: bytes) -> float:
    """Return how long a recorder goes on at its newest pace until all of it is overwritten."""
    newest = entries([raw])[-RECORDED // 4 :]

    if len(newest) < 2:
        return 3600.0

    return (newest[-1].start_ns - newest[0].start_ns) / 1e9 / (len(newest) - 1) * RECORDED
