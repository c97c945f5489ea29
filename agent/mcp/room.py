"""How much an answer may still say: a budget in tokens, spent on what matters most first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

BYTES_PER_TOKEN: Final = 4
"""The stated rule: four bytes of the answer's JSON, in UTF-8, count as a token."""
_PER_LIST_BYTES: Final = 64
"""Its key, its brackets, and how many items were left out."""

_T = TypeVar("_T")


def tokens_of(text: bytes) -> int:
    return -(-len(text) // BYTES_PER_TOKEN)


class Room:
    """The room in one answer; give it the most important list first."""

    def __init__(self, tokens: int, head: msgspec.Struct) -> None:
        """Begin with what is in every answer of this kind."""
        self._left = tokens * BYTES_PER_TOKEN - len(msgspec.json.encode(head))

    @property
    def left_bytes(self) -> int:
        """What a list that is taken now may have."""
        return max(0, self._left - _PER_LIST_BYTES)

    def take(
        self, items: Iterable[_T], *, most: int | None = None, share: float = 1.0
    ) -> tuple[tuple[_T, ...], int]:
        """Return the first items that fit, and how many are left out.

        Args:
            items: The most important first.
            most: At most so many, even if there is room.
            share: The part of the room that they may have.
        """
        kept: list[_T] = []
        left = int(self.left_bytes * share)
        pending = list(items)

        for item in pending[:most]:
            size = _size(item)

            # The first one may have all the room: without it the answer says too little.
            if size > (left if kept else self.left_bytes):
                break

            kept.append(item)
            left -= size
            self._left -= size

        self._left -= _PER_LIST_BYTES if pending else 0
        return tuple(kept), len(pending) - len(kept)


def _size(item: Any) -> int:
    return len(msgspec.json.encode(item)) + 1  # and a comma
