"""Stacks, and the ranks that are in them."""

from __future__ import annotations

from dsray_inspect.agent.model.record import Record
from dsray_inspect.agent.model.vocabulary import Layer, Role


class Local(Record, frozen=True, kw_only=True):
    """One local variable of a frame, its value redacted on the node."""

    name: str
    value: str


class Frame(Record, frozen=True, kw_only=True):
    """One line of a stack. `name` is the bare function name, whichever tool read it."""

    name: str
    file: str
    line: int
    layer: Layer = "python"
    qualname: str | None = None
    locals: tuple[Local, ...] | None = None


class StackGroup(Record, frozen=True, kw_only=True):
    """Equal stacks, shown once, with the ranks that are in them."""

    ranks: tuple[int, ...]
    role: Role
    thread: str
    frames: tuple[Frame, ...]
    pids: tuple[int, ...] = ()
    idle_s: float | None = None
    """Seconds since the first of these threads last ran on a CPU."""


class Stacks(Record, frozen=True, kw_only=True):
    groups: tuple[StackGroup, ...] = ()
