"""HTML that is safe by construction: a plain string is text, and text is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final

import msgspec

Attribute = str | int | float | bool | None

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Characters that are not seen, or that change the order in which others are."""
_EMPTY: Final = frozenset(["input", "path", "rect"])


class Html(str):
    """A string that is HTML already."""

    __slots__ = ()


NOTHING: Final = Html()


def element(name: str, *children: str, **attributes: Attribute) -> Html:
    """Return an element; of its attributes' names `_` becomes `-`, and a last one is dropped.

    An attribute that is None or False is left out.
    """
    shown = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )

    if name in _EMPTY:
        return Html(f"<{name}{shown}/>")

    return Html(f"<{name}{shown}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Html:
    """Return children one after another, those that are text escaped."""
    return Html("".join(one if isinstance(one, Html) else _text(one) for one in children))


def data(value: object) -> Html:
    """Return a value as JSON for a `<script type="application/json">`, which nothing in it can end."""
    text = msgspec.json.encode(value).decode()
    return Html(text.replace("<", "\\u003c"))


def visible(text: str) -> str:
    """Return text with a mark in place of each character that a reader could not see."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _text(value: Attribute) -> str:
    return escape(visible(str(value)), quote=True)
