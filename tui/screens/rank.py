"""One rank: where it is placed, what it is in, what was set for it, and its recent past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.binding import Binding, BindingType

from dsray_inspect.agent.model import Snapshot, Worker
from dsray_inspect.tui.messages import LogFetched
from dsray_inspect.tui.panels.log import LogRequest, fetch_log
from dsray_inspect.tui.panels.rank_page import RankPage, earlier_of
from dsray_inspect.tui.rows import Row, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.source import IS_RECORDING
from dsray_inspect.tui.view_state import ViewState

_FOLDED_AT_FIRST: Final = frozenset({"environment", "config"})


class RankView(View):
    """Follows a rank, not a process: after a restart it shows the new process."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "ask_stacks(True)", "native"),
        Binding("l", "ask_stacks(False)", "locals"),
        Binding("L", "log", "log"),
        Binding("greater_than_sign,right", "next(1)", "next rank", show=False),
        Binding("less_than_sign,left", "next(-1)", "previous rank", show=False),
        Binding("x", "toggle_all_frames", "all frames", show=False),
    ]

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._rank = worker.rank
        self._actor_id = worker.actor_id
        self._shows_all_frames = False
        self._logs: dict[str, LogRequest] = {}
        """By actor id, because a process that replaces another one has a log of its own."""

    def crumbs(self) -> Sequence[str]:
        return (f"rank {'?' if self._rank is None else self._rank}",)

    def _worker_in(self, snapshot: Snapshot) -> Worker | None:
        """Return the process that was opened, or the one that has replaced it."""
        workers = snapshot.workers
        same = next((each for each in workers if each.actor_id == self._actor_id), None)

        if same is not None or self._rank is None:
            return same

        return next((each for each in workers if each.rank == self._rank), None)

    def rows(self, snapshot: Snapshot, view_state: ViewState) -> list[Row]:
        worker = self._worker_in(snapshot)

        if worker is None:
            return [row("", (" This rank is not in this snapshot.", "dim"))]

        page = RankPage(
            snapshot,
            worker,
            earlier_of(view_state.past, worker),
            folded=_FOLDED_AT_FIRST ^ self.toggled,
            width=self.size.width,
            shows_all_frames=self._shows_all_frames,
            is_live=self.state.source.is_live,
            log=self._logs.get(worker.actor_id, LogRequest()),
        )
        return list(page.rows())

    def action_toggle_all_frames(self) -> None:
        self._shows_all_frames = not self._shows_all_frames
        self.update_view()

    def selected_ranks(self) -> Sequence[int]:
        return () if self._rank is None else (self._rank,)

    def action_next(self, by: int) -> None:
        """Show the rank with the next higher number, or with -1 the next lower one."""
        snapshot = self.state.view_state.shown

        if snapshot is None:
            return

        by_rank = {each.rank: each for each in snapshot.workers if each.rank is not None}
        ranks = sorted(by_rank)

        if self._rank in by_rank:
            self._rank = ranks[(ranks.index(self._rank) + by) % len(ranks)]
            self._actor_id = by_rank[self._rank].actor_id
            self.update_view()

    # The log

    def action_log(self) -> None:
        """Read the end of the rank's log files, and go to where they will be shown."""
        snapshot = self.state.view_state.shown
        worker = self._worker_in(snapshot) if snapshot is not None else None

        if snapshot is None or worker is None or self._is_log_pending(worker):
            return

        if not self.state.source.is_live:
            self.notify(IS_RECORDING)
        elif worker.rank is None:
            self.notify("The rank of this process is not known.")
        else:
            self._start_reading_log(snapshot.job.label, worker.actor_id, worker.rank)
            self.toggled.discard("log")
            self.update_view()
            self.list.go_to("part log")

    def _is_log_pending(self, worker: Worker) -> bool:
        return self._logs.get(worker.actor_id, LogRequest()).is_pending

    def _start_reading_log(self, job: str, actor_id: str, rank: int) -> None:
        source = self.state.source

        def read() -> None:
            request = fetch_log(source, job, rank)
            self.post_message(LogFetched(actor_id, request.log, request.problem))

        self._logs[actor_id] = LogRequest(is_pending=True)
        # A worker of the app, because this screen may be closed before the log is there.
        self.app.run_worker(read, thread=True, exit_on_error=False)

    def on_log_fetched(self, message: LogFetched) -> None:
        """Show the log from its last line, unless the user has moved on."""
        self._logs[message.actor_id] = LogRequest(message.log, message.problem)
        self.update_view()
        current = self.current
        lines = [each.key for each in self.list.rows if each.key.startswith("log ")]

        if lines and current is not None and current.key == "part log":
            self.list.go_to(lines[-1])
