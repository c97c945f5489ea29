"""How a run started, as far as its launcher keeps it. All times are Unix nanoseconds."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.handles import Row
from dsray_inspect.agent.model import Record

S = 1_000_000_000


class Milestones(Record, frozen=True, kw_only=True):
    """When the run came to each point; None where that is not known, or did not happen yet.

    Where there are several ranks, it is the time of the last of them.
    """

    fit_ns: int | None = None
    """`fit()` asked for the controller."""
    controller_ns: int | None = None
    """The controller's `run` began."""
    group_asked_ns: int | None = None
    group_ready_ns: int | None = None
    launched_ns: int | None = None
    """The raylet launched the process of the rank that came last."""
    running_ns: int | None = None
    """That process took up the actor's creation."""
    created_ns: int | None = None
    """The actor was there, its class imported."""
    join_ns: int | None = None
    """The first rank was sent to the rendezvous."""
    joined_ns: int | None = None
    trained_ns: int | None = None
    """The training function began."""
    unpickled_ns: int = 0
    """What between `created_ns` and `join_ns` a rank took to unpickle the training function."""
    restart: bool = False

    def or_else(self, other: Milestones) -> Milestones:
        """Return these marks, completed by another source's."""
        return Milestones(
            **{
                name: mine if mine not in (None, 0, False) else getattr(other, name)
                for name, mine in msgspec.structs.asdict(self).items()
            }
        )

    @property
    def complete(self) -> bool:
        return None not in (self.fit_ns or (self.restart or None), self.trained_ns, self.joined_ns)


class StartSpan(Row, frozen=True, kw_only=True):
    """One part of a rank's start, such as `imports`; `end_ns` is None while it goes on."""

    name: str
    start_ns: int
    end_ns: int | None
    target: str | None = None
    """What was imported."""


class StoreTotals(Row, frozen=True, kw_only=True):
    """What went through the object stores of some nodes since these began, whosever it was."""

    created_bytes: int
    spilled_bytes: int
    spill_s: float


class Serialization(Row, frozen=True, kw_only=True):
    """What the tasks of a job took to unpickle their arguments and to store their results."""

    seconds: float
    tasks: int


class StartFacts(Row, frozen=True, kw_only=True):
    """What a launcher keeps of a start; `why` says what could not be read."""

    marks: Milestones = Milestones()
    spans: dict[str, tuple[StartSpan, ...]] = msgspec.field(default_factory=dict)
    """By actor id."""
    serialization: Serialization | None = None
    stores: StoreTotals | None = None
    why: str = ""
