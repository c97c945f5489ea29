"""Which rank of its world a process is, by its variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dsray_inspect.agent.compat.launchers import RANK_VARIABLES, RankVariables


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """`world_size` is None where nobody set it."""

    rank: int
    world_size: int | None


def place_of(
    variables: Mapping[str, str], conventions: Sequence[RankVariables] = RANK_VARIABLES
) -> Place | None:
    """Return a process's place by the first convention that it follows, None for no rank."""
    for names in conventions:
        rank = number_in(variables.get(names.rank))

        if rank is not None:
            return Place(rank=rank, world_size=number_in(variables.get(names.world_size)))

    return None


def number_in(text: str | None) -> int | None:
    """Return the number that a variable holds, None for anything else."""
    return int(text) if text is not None and text.isdigit() else None
