"""What the terminal UI knows: the window of snapshots, what happened to the job, and where the user is in it."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from dsray_inspect.agent.feed import Ended, Event, HistoryLoaded, SampleFailed, SampleTaken
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import Snapshot

_MAX_SNAPSHOTS: Final = 1200
"""Ten minutes at the default rate."""
MAX_RANKS: Final = 200_000
"""Limit for the ranks of all snapshots together: the window of a large job is shorter."""
_MIN_SNAPSHOTS: Final = 24


class Restart(NamedTuple):
    """A snapshot in which ranks had other processes than before."""

    at: float
    ranks: tuple[int, ...]


class ViewState:
    """Collects events; used by one thread only."""

    def __init__(self) -> None:
        self.window: deque[Snapshot] = deque()
        self.failure: SampleFailed | None = None
        """Why the latest sample failed; None once a sample succeeds again."""
        self.ended = False
        self.history: History | None = None
        """What the ranks did before the window begins."""
        self.restart: Restart | None = None
        self._processes: dict[int, tuple[str, int]] = {}
        self._back = 0
        self._is_paused = False

    def add(self, event: Event) -> None:
        if isinstance(event, SampleTaken):
            self._add_snapshot(event.snapshot)
            self.failure = None
        elif isinstance(event, HistoryLoaded):
            self.history = event.history
        elif isinstance(event, SampleFailed):
            self.failure = event
        elif isinstance(event, Ended):
            self.ended = True

    def _add_snapshot(self, snapshot: Snapshot) -> None:
        self._note_restart(snapshot)
        self.window.append(snapshot)
        limit = max(_MIN_SNAPSHOTS, min(_MAX_SNAPSHOTS, MAX_RANKS // max(1, len(snapshot.workers))))

        if self._is_paused:
            # The snapshot on the screen stays there as long as the window can hold it.
            self._back = min(self._back + 1, len(self.window) - 1)
            limit *= 2

        while len(self.window) > limit:
            self.window.popleft()

        self._back = min(self._back, len(self.window) - 1)

    def _note_restart(self, snapshot: Snapshot) -> None:
        """Compare with the process that each rank had when it was last seen."""
        processes = {
            worker.rank: (worker.actor_id, worker.pid)
            for worker in snapshot.workers
            if worker.rank is not None
        }
        restarted = [
            rank
            for rank, process in processes.items()
            if self._processes.get(rank, process) != process
        ]
        self._processes.update(processes)

        if restarted:
            self.restart = Restart(snapshot.taken_at, tuple(sorted(restarted)))

    @property
    def shown(self) -> Snapshot | None:
        """The snapshot on the screen."""
        return self.window[-1 - self._back] if self.window else None

    @property
    def past(self) -> list[Snapshot]:
        """The snapshots up to the one on the screen, which is the last."""
        return list(self.window)[: len(self.window) - self._back]

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    @property
    def position(self) -> int:
        """The number of the snapshot on the screen, from 1."""
        return len(self.window) - self._back

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        """Show the newest snapshot, and from now on each new one."""
        self._is_paused = False
        self._back = 0

    def step(self, count: int) -> bool:
        """Move through the window, which pauses it; returns whether the snapshot changed."""
        if not self.window:
            return False

        self._is_paused = True
        before, self._back = self._back, max(0, min(len(self.window) - 1, self._back - count))
        return self._back != before
