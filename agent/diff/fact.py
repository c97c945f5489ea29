"""A fact of one side: what is compared, and what is shown of it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from dsray_inspect.agent.differences import Kind, Value


class Key(NamedTuple):
    """What a fact is about, such as one environment variable."""

    kind: Kind
    name: str


class Fact(NamedTuple):
    """`same` is equal on both sides where they do not differ, whatever `value` shows."""

    same: Hashable
    value: Value


Facts = dict[Key, Fact]


def text_fact(text: str) -> Fact:
    return Fact(text, Value(text=text))
