"""Messages to the app: what the reader's thread delivers, and what screens ask for."""

from __future__ import annotations

from textual.message import Message

from dsray_inspect.agent.feed import Event
from dsray_inspect.agent.model import Log
from dsray_inspect.tui.targets import ViewName

# From the threads that read


class EventsArrived(Message):
    """The reader delivered events, in the order in which they happened."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        super().__init__()
        self.events = events


class ReaderFailed(Message):
    """The reader ended before its first event: no such job, or no permission to read it."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__()
        self.text = text
        self.code = code


class StacksFetched(Message):
    """The native stacks or local variables that were asked for; `problem` says why there are none."""

    def __init__(self, title: str, lines: tuple[str, ...], problem: str = "") -> None:
        super().__init__()
        self.title = title
        self.lines = lines
        self.problem = problem


class LogFetched(Message):
    """The log of a rank that was asked for; `problem` says why there is none."""

    def __init__(self, actor_id: str, log: Log | None, problem: str = "") -> None:
        super().__init__()
        self.actor_id = actor_id
        self.log = log
        self.problem = problem


# From the screens


class OpenView(Message):
    """Show one of the six views."""

    def __init__(self, view: ViewName) -> None:
        super().__init__()
        self.view = view


class OpenRank(Message):
    """Show the page of a rank."""

    def __init__(self, actor_id: str) -> None:
        super().__init__()
        self.actor_id = actor_id


class GoBack(Message):
    """Close the screen on top."""


class AskStacks(Message):
    """Read native frames or local variables of ranks, after the user has confirmed the pause."""

    def __init__(self, ranks: tuple[int, ...], *, native: bool) -> None:
        super().__init__()
        self.ranks = ranks
        self.native = native
