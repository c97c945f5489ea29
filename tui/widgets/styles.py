"""The styles behind the names of `lines.Look`, as the theme of the moment has them."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget

from dsray_inspect.tui.rows import LOOKS

DIM = 0.74
"""How far dimmed text stands out from its background."""


def looks_of(widget: Widget, prefix: str, *more: str) -> dict[str, Style]:
    """Return a widget's styles by name; the plain one has none."""
    plain = widget.rich_style
    looks = {"": plain} | {
        look: plain + widget.get_component_rich_style(f"{prefix}--{look}", partial=True)
        for look in (*LOOKS, *more)
    }
    _, _, background, color = widget.colors
    dimmed = Style(color=background.blend(color, DIM).rich_color)
    return looks | {look: looks[look] + dimmed for look in ("dim", "ray", "still")}
