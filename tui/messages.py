"""What the reader's thread tells the app; it does nothing else to it."""

from __future__ import annotations

from textual.message import Message

from dsray_inspect.agent.feed import Event
from dsray_inspect.agent.model import Log


class Arrived(Message):
    """Events came, as many as arrived at once."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        super().__init__()
        self.events = events


class Broke(Message):
    """The reader cannot begin: there is no such job, or it is not allowed to look."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__()
        self.text = text
        self.code = code


class Fetched(Message):
    """An answer asked for by a key, such as native stacks; `problem` says why there is none."""

    def __init__(self, title: str, lines: tuple[str, ...], problem: str = "") -> None:
        super().__init__()
        self.title = title
        self.lines = lines
        self.problem = problem


class Logged(Message):
    """The log of a rank, asked for by a key; `problem` says why there is none."""

    def __init__(self, actor_id: str, log: Log | None, problem: str = "") -> None:
        super().__init__()
        self.actor_id = actor_id
        self.log = log
        self.problem = problem
