"""What a TUI knows: the window of looks, what happened meanwhile, and where the user stands in it."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from dsray_inspect.agent.feed import Ended, Event, HistoryLoaded, SampleFailed, SampleTaken
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.text.humanize import compact

KEEP: Final = 1200
"""Looks in the window: ten minutes at the default rate."""
KEEP_RANKS: Final = 200_000
"""Ranks in all looks together; of a large job fewer looks are kept."""
LEAST: Final = 24


class Restart(NamedTuple):
    """The worker group was another than in the look before."""

    at: float
    ranks: tuple[int, ...]


class ViewState:
    """Fed with events; touched by one thread only."""

    def __init__(self) -> None:
        self.window: deque[Snapshot] = deque()
        self.unseen: SampleFailed | None = None
        self.ended = False
        self.history: History | None = None
        """What the ranks did before the window begins."""
        self.restart: Restart | None = None
        self._processes: dict[int, tuple[str, int]] = {}
        self._back = 0
        self._is_paused = False

    def add(self, event: Event) -> None:
        if isinstance(event, SampleTaken):
            self._add_look(event.snapshot)
            self.unseen = None
        elif isinstance(event, HistoryLoaded):
            self.history = event.history
        elif isinstance(event, SampleFailed):
            self.unseen = event
        elif isinstance(event, Ended):
            self.ended = True

    def _add_look(self, snapshot: Snapshot) -> None:
        self._note_restart(snapshot)
        self.window.append(snapshot)
        most = max(LEAST, min(KEEP, KEEP_RANKS // max(1, len(snapshot.workers))))

        if self._is_paused:
            # What is looked at stays, as long as there is room for it.
            self._back = min(self._back + 1, len(self.window) - 1)
            most *= 2

        while len(self.window) > most:
            self.window.popleft()

        self._back = min(self._back, len(self.window) - 1)

    def _note_restart(self, snapshot: Snapshot) -> None:
        """Compare with the processes that each rank had last, in whichever look that was."""
        now = {
            one.rank: (one.actor_id, one.pid) for one in snapshot.workers if one.rank is not None
        }
        other = [rank for rank in now if self._processes.get(rank, now[rank]) != now[rank]]
        self._processes.update(now)

        if other:
            self.restart = Restart(snapshot.taken_at, tuple(sorted(other)))

    @property
    def now(self) -> Snapshot | None:
        """The look that is shown."""
        return self.window[-1 - self._back] if self.window else None

    @property
    def past(self) -> list[Snapshot]:
        """The looks up to the one that is shown."""
        return list(self.window)[: len(self.window) - self._back]

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    @property
    def position(self) -> int:
        """The number of the look that is shown, from 1."""
        return len(self.window) - self._back

    def pause(self, is_paused: bool) -> None:
        self._is_paused = is_paused
        self._back = 0 if not is_paused else self._back

    def step(self, looks: int) -> bool:
        """Go through the window, which pauses it; returns whether that led anywhere."""
        if not self.window:
            return False

        self._is_paused = True
        before, self._back = self._back, max(0, min(len(self.window) - 1, self._back - looks))
        return self._back != before


def notices(story: ViewState, now: float) -> list[str]:
    """Return what a reader must know of how this is seen, the gravest first."""
    snapshot = story.now

    if snapshot is None:
        return []

    lines = []

    if story.unseen is not None and not story.is_paused:
        ago = max(0.0, now - snapshot.taken_at)
        lines.append(f"⚠ not seen for {ago:.0f} s: {story.unseen.why} Shown is the last look.")

    if story.ended and not story.is_paused:
        lines.append(f"■ The job has ended: {snapshot.job.state}. The window stays; q leaves.")

    lost = [node.hostname or node.ip for node in snapshot.nodes if not node.alive]

    if lost and any(
        not node.alive and holds_ranks(snapshot, node.node_id) for node in snapshot.nodes
    ):
        lines.append(f"⚠ node lost: {', '.join(lost[:3])}. Its ranks are shown as last known.")

    if story.restart is not None and 0 <= snapshot.taken_at - story.restart.at < 60:
        ago = snapshot.taken_at - story.restart.at
        lines.append(
            f"↻ restarted {ago:.0f} s ago: ranks {compact(story.restart.ranks)} have new processes."
        )

    lines += blind(snapshot)
    return lines


def holds_ranks(snapshot: Snapshot, node_id: str) -> bool:
    return any(worker.node_id == node_id for worker in snapshot.workers)


def blind(snapshot: Snapshot) -> list[str]:
    """Return what could not be seen for want of a right, and the way out."""
    if snapshot.job.has_ended:
        return []

    missing = [
        one for one in snapshot.workers if one.state == "alive" and one.evidence.stack != "ok"
    ]

    if not missing:
        return []

    which = compact(sorted(one.rank for one in missing if one.rank is not None)) or "some"
    of = f"{len(missing)} of {len(snapshot.workers)} ranks ({which})"
    why = missing[0].evidence.stack
    told = "" if why in snapshot.verdict.summary else f": {why}"
    return [f"? no stack of {of}{told}. dsray-inspect doctor has the fix."]
