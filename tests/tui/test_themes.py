"""Every theme shows the same text, and all of it is readable."""

from __future__ import annotations

import pytest
from rich.color_triplet import ColorTriplet

from dsray_inspect.tui.app import InspectApp
from tests.tui.histories import WINDOWS
from tests.tui.terminal import Terminal, app_on

THEMES = ("textual-dark", "textual-light", "nord", "solarized-light")
READABLE = 2.5
"""The least contrast of any text; solarized itself has 4 for plain text."""
VIEWS = ("1", "2", "3", "4", "5", "6")


@pytest.mark.parametrize("window", ["healthy", "hung", "lost"])
async def test_every_theme_shows_the_same_text_readably(window: str) -> None:
    async with Terminal(app_on(WINDOWS[window]()), (100, 30)) as terminal:
        for view in VIEWS:
            texts = set()
            await terminal.press(view)

            for theme in THEMES:
                terminal.app.theme = theme
                await terminal.pilot.pause()
                texts.add(terminal.text)
                unreadable = faint_texts(terminal.app)
                assert not unreadable, f"{theme}, view {view}: {unreadable[:5]}"

            assert len(texts) == 1


def faint_texts(app: InspectApp) -> list[tuple[str, float]]:
    """Return the texts with too little contrast to their background."""
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


def contrast(text: ColorTriplet, background: ColorTriplet) -> float:
    """Return the contrast of two colours according to WCAG, 1 to 21."""
    light, dark = sorted((luminance(text), luminance(background)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: ColorTriplet) -> float:
    parts = [part / 255 for part in color]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


async def test_no_status_is_shown_by_colour_alone(terminal: Terminal) -> None:
    assert "✗ 1" in terminal.text
    assert "BLOCKED" in terminal.text
    assert terminal.text.count("○") >= 2
