"""The Rich styles behind style names, according to the current theme."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget

from dsray_inspect.tui.rows import STYLE_NAMES

_DIM = 0.74
"""Share of the text colour in dimmed text; the rest is background."""


def styles_of(widget: Widget, prefix: str, *more: str) -> dict[str, Style]:
    """Return a widget's styles by name; the plain one is under ""."""
    plain = widget.rich_style
    styles = {"": plain} | {
        name: plain + widget.get_component_rich_style(f"{prefix}--{name}", partial=True)
        for name in (*STYLE_NAMES, *more)
    }
    _, _, background, color = widget.colors
    dimmed = Style(color=background.blend(color, _DIM).rich_color)
    return styles | {name: styles[name] + dimmed for name in ("dim", "ray", "still")}
