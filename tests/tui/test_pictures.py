"""Every screen on every window, narrow and wide, held to what it looked like when it was read.

    UPDATE_GOLDEN=1 .venv/bin/pytest tests/tui

writes the pictures anew. Read the difference before you commit it.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.tui.histories import WINDOWS
from tests.tui.screen import app_on, held_to, press, shown, text_of

SIZES = ((80, 24), (160, 48))
VIEWS = ("overview", "functions", "stacks", "timeline", "findings", "env")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("window", WINDOWS)
def test_every_screen(window: str, size: tuple[int, int]) -> None:
    held_to(asyncio.run(pictures(window, size)), f"{window}-{size[0]}x{size[1]}")


async def pictures(window: str, size: tuple[int, int]) -> str:
    """Return all screens of a window, one below the other."""
    app = app_on(WINDOWS[window]())
    parts = []

    async with shown(app, size) as pilot:
        for number, view in enumerate(VIEWS, 1):
            await press(pilot, str(number))
            parts.append(f"== {view}\n{text_of(app)}")
            check_lines(text_of(app), size)

        await press(pilot, "1", "enter")
        parts.append(f"== rank\n{text_of(app)}")
        await press(pilot, "question_mark")
        parts.append(f"== help\n{text_of(app)}")

    return "\n".join(parts)


def check_lines(text: str, size: tuple[int, int]) -> None:
    lines = text.split("\n")
    assert len(lines) == size[1]
    assert max(map(len, lines)) <= size[0]
