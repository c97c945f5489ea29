"""Where a row leads when it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

ViewName = Literal["overview", "functions", "stacks", "timeline", "findings", "env"]


@dataclass(frozen=True, slots=True)
class RankTarget:
    """Opens the page of a rank."""

    actor_id: str


@dataclass(frozen=True, slots=True)
class ViewTarget:
    """Opens one of the six views."""

    view: ViewName


@dataclass(frozen=True, slots=True)
class FoldTarget:
    """Folds or unfolds a part of the view that the row is in."""

    key: str


Target: TypeAlias = RankTarget | ViewTarget | FoldTarget | None
