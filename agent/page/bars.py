"""A bar in parts, each as wide as its share; SVG, as a page without inline styles has no other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from dsray_inspect.agent.page.markup import Attribute, Html, element
from dsray_inspect.agent.page.parts import percent

_HEIGHT: Final = 20
_BASELINE: Final = 14


class Box(NamedTuple):
    """One part of a bar; `x` and `width` are shares of the whole."""

    x: float
    width: float
    label: str
    title: str
    kind: str
    level: int = 0

    def drawn(self, **more: Attribute) -> Html:
        """Return the part; what does not fit into it is cut off, and the title has all."""
        return element(
            "svg",
            element("title", self.title),
            element("rect", width="100%", height="100%"),
            element("text", self.label, x=4, y=_BASELINE),
            x=percent(self.x),
            y=self.level * _HEIGHT,
            width=percent(self.width),
            height=_HEIGHT - 1,
            class_=self.kind,
            **more,
        )


def bar(boxes: Iterable[Html], *, levels: int = 1, label: str | None = None) -> Html:
    """Return boxes in one drawing."""
    return element(
        "svg",
        *boxes,
        width="100%",
        height=levels * _HEIGHT,
        class_="bar",
        role="img" if label else None,
        aria_label=label,
        aria_hidden=None if label else "true",
    )
