"""One rank: where it is placed, what it is in, what was set for it, how it went of late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from dsray_inspect.agent.model import Snapshot, Worker
from dsray_inspect.tui.messages import Logged
from dsray_inspect.tui.requests import ask_log, ask_stacks
from dsray_inspect.tui.rows import Row, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.screens.log import Asked
from dsray_inspect.tui.screens.rank_rows import RankRows, history
from dsray_inspect.tui.view_state import ViewState

FOLDED_AT_FIRST = ("environment", "config")


class RankView(View):
    """Follows a rank, not a process: after a restart it shows the new one."""

    VIEW: ClassVar[str] = "rank"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "ask(True)", "native"),
        Binding("l", "ask(False)", "locals"),
        Binding("L", "log", "log"),
        Binding("greater_than_sign,right", "next(1)", "next rank", show=False),
        Binding("less_than_sign,left", "next(-1)", "previous rank", show=False),
        Binding("x", "unfold", "all frames", show=False),
    ]

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._rank = worker.rank
        self._actor_id = worker.actor_id
        self._folded: set[str] = set(FOLDED_AT_FIRST)
        self._is_full = False
        self._logs: dict[str, Asked] = {}
        """By actor id: the log of a rank's process before a restart is not that of the new one."""

    def crumbs(self) -> Sequence[str]:
        return (f"rank {'?' if self._rank is None else self._rank}",)

    def worker_in(self, snapshot: Snapshot) -> Worker | None:
        same = [one for one in snapshot.workers if one.actor_id == self._actor_id]
        now = [one for one in snapshot.workers if self._rank is not None and one.rank == self._rank]
        found = same or now
        return found[0] if found else None

    def rows(self, snapshot: Snapshot, story: ViewState) -> list[Row]:
        worker = self.worker_in(snapshot)

        if worker is None:
            return [row("", (" This rank is not in this look.", "dim"))]

        past = history(story.past, worker)
        page = RankRows(
            snapshot,
            worker,
            past,
            self._folded,
            width=self.size.width,
            is_full=self._is_full,
            is_live=self.inspect.source.is_live,
            log=self._logs.get(worker.actor_id, Asked()),
        )
        return list(page.rows())

    def chosen(self, row: Row) -> None:
        if row.target.startswith("fold:"):
            self._folded ^= {row.target.removeprefix("fold:")}
            self.update_view()
        else:
            super().chosen(row)

    def action_unfold(self) -> None:
        self._is_full = not self._is_full
        self.update_view()

    def action_ask(self, native: bool) -> None:
        ask_stacks(self.inspect, () if self._rank is None else (self._rank,), native=native)

    def action_log(self) -> None:
        """Read the end of the rank's log files, and stand where they will be shown."""
        snapshot = self.inspect.story.now
        worker = self.worker_in(snapshot) if snapshot is not None else None

        if worker is None or self._logs.get(worker.actor_id, Asked()).is_coming:
            return

        if not ask_log(self.inspect, self, worker):
            return

        self._logs[worker.actor_id] = Asked(is_coming=True)
        self._folded.discard("log")
        self.update_view()
        self.list.go_to("part log")

    def on_logged(self, message: Logged) -> None:
        """Show what came, its last lines first of all, unless the cursor has been moved on."""
        self._logs[message.actor_id] = Asked(message.log, message.problem)
        self.update_view()
        current = self.list.current
        ours = [one.key for one in self.list.rows if one.key.startswith("log ")]

        if ours and current is not None and current.key == "part log":
            self.list.go_to(ours[-1])

    def action_next(self, by: int) -> None:
        """Go to the next rank by number."""
        snapshot = self.inspect.story.now
        ranks = (
            sorted(one.rank for one in snapshot.workers if one.rank is not None) if snapshot else []
        )

        if snapshot is not None and self._rank in ranks:
            self._rank = ranks[(ranks.index(self._rank) + by) % len(ranks)]
            self._actor_id = next(
                one.actor_id for one in snapshot.workers if one.rank == self._rank
            )
            self.update_view()
