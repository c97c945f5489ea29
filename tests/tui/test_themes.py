"""Light and dark: the same text, and all of it readable."""

from __future__ import annotations

import asyncio

import pytest
from rich.color_triplet import ColorTriplet

from dsray_inspect.tui.app import InspectApp
from tests.tui.histories import WINDOWS
from tests.tui.screen import app_on, press, shown, text_of

THEMES = ("textual-dark", "textual-light", "nord", "solarized-light")
READABLE = 2.5
"""Contrast below which no text may be; solarized itself has 4 for its plain text."""
VIEWS = ("1", "2", "3", "4", "5", "6")


@pytest.mark.parametrize("window", ["healthy", "hung", "lost"])
def test_every_theme_shows_the_same_text_readably(window: str) -> None:
    asyncio.run(compare_themes(window))


async def compare_themes(window: str) -> None:
    app = app_on(WINDOWS[window]())

    async with shown(app, (100, 30)) as pilot:
        for view in VIEWS:
            texts = set()
            await press(pilot, view)

            for theme in THEMES:
                app.theme = theme
                await pilot.pause()
                texts.add(text_of(app))
                unreadable = faint(app)
                assert not unreadable, f"{theme}, view {view}: {unreadable[:5]}"

            assert len(texts) == 1


def faint(app: InspectApp) -> list[tuple[str, float]]:
    """Return texts whose colour is too near that of their background."""
    found = []

    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style

            if not segment.text.strip(" │├└─┐┴▏▁▂▃▄▅▆▇█·") or style is None or style.dim:
                continue

            if style.color is None or style.bgcolor is None:
                continue

            ratio = contrast(style.color.get_truecolor(), style.bgcolor.get_truecolor())
            found += [(segment.text, round(ratio, 2))] if ratio < READABLE else []

    return found


def contrast(one: ColorTriplet, other: ColorTriplet) -> float:
    """Return the contrast of two colours as WCAG has it, 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: ColorTriplet) -> float:
    parts = [part / 255 for part in color]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colour_is_never_alone() -> None:
    """A symbol or word says of every rank what its colour says."""
    picture = asyncio.run(first_screen("hung"))
    assert "✗ 1" in picture
    assert "BLOCKED" in picture
    assert picture.count("○") >= 2


async def first_screen(window: str) -> str:
    app = app_on(WINDOWS[window]())

    async with shown(app):
        return text_of(app)
