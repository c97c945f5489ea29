"""The document of `diff`: what differs and matters, what differs in any two runs, what is not known."""

from __future__ import annotations

from typing import Final, Literal, get_args

from dsray_inspect.agent.model import EnvSource, Record, Verdict

SCHEMA_VERSION: Final = 1
Kind = Literal[
    "config",
    "env",
    "command",
    "version",
    "world",
    "model",
    "verdict",
    "finding",
    "place",
    "frame",
    "group",
    "node",
    "gpu",
    "figure",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""In the order in which differences matter."""
Because = Literal[
    "per_process",
    "per_node",
    "ray_session",
    "device",
    "port",
    "host",
    "made_up",
    "world_size",
    "owner",
    "moment",
    "small",
]
"""Why a difference says nothing: any two runs have it, or it follows from another one."""


class Value(Record, frozen=True, kw_only=True):
    """What one side has. `number` is that of a figure, in the unit of its name."""

    text: str
    source: EnvSource | None = None
    """Who set a variable."""
    number: float | None = None


class Difference(Record, frozen=True, kw_only=True):
    """One thing that is not the same on both sides; a side that does not have it has None.

    `ranks` are those with these values, none where it is the whole run's.
    """

    kind: Kind
    name: str
    ranks: tuple[int, ...]
    a: Value | None
    b: Value | None
    because: Because | None = None
    """Why it says nothing; None for one that matters."""


class NotCompared(Record, frozen=True, kw_only=True):
    """What may differ or not: it is hidden, or one side does not have it."""

    what: str
    ranks: tuple[int, ...]
    why: str


class Compared(Record, frozen=True, kw_only=True):
    """How much both sides have, so that an empty answer is known to be one."""

    ranks: int
    variables: int
    settings: int
    packages: int


class SideSummary(Record, frozen=True, kw_only=True):
    """One of the two: what it is, and the sample that was compared."""

    name: str
    """As it was typed."""
    is_file: bool
    public: bool
    job: str
    run: str | None
    taken_at: float
    after_s: float
    """From the side's first sample to the one that was compared."""
    samples: int
    ranks: int
    step: int | None
    """The newest of any rank."""
    verdict: Verdict


class DiffDocument(Record, frozen=True, kw_only=True):
    """The document of `diff --json`."""

    a: SideSummary
    b: SideSummary
    differences: tuple[Difference, ...]
    """What matters most first."""
    expected: tuple[Difference, ...]
    """What says nothing, each with `because`."""
    not_compared: tuple[NotCompared, ...]
    compared: Compared
    schema_version: Literal[1] = SCHEMA_VERSION
