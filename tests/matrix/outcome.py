"""What a command gave in one cell."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["right", "said", "wrong"]


class Outcome(NamedTuple):
    """`said`: something that newer versions give is missing, and the command says so and why."""

    state: State
    detail: str


class Said(Exception):
    """Raised by a check whose command gave less than it should, and said why."""
