"""The text of every screen on every window, narrow and wide, compared with its golden file.

    UPDATE_GOLDEN=1 .venv/bin/pytest tests/tui

rewrites the golden files. Read the diff before you commit it.
"""

from __future__ import annotations

import pytest

from tests.tui.histories import WINDOWS
from tests.tui.terminal import Terminal, app_on, assert_same_picture

SIZES = ((80, 24), (160, 48))
VIEWS = ("overview", "functions", "stacks", "timeline", "findings", "env")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("window", WINDOWS)
async def test_every_screen(window: str, size: tuple[int, int]) -> None:
    parts = []

    async with Terminal(app_on(WINDOWS[window]()), size) as terminal:
        for number, view in enumerate(VIEWS, 1):
            await terminal.press(str(number))
            parts.append(f"== {view}\n{terminal.text}")
            check_lines(terminal.text, size)

        await terminal.press("1", "enter")
        parts.append(f"== rank\n{terminal.text}")
        await terminal.press("question_mark")
        parts.append(f"== help\n{terminal.text}")

    assert_same_picture("\n".join(parts), f"{window}-{size[0]}x{size[1]}")


def check_lines(text: str, size: tuple[int, int]) -> None:
    lines = text.split("\n")
    assert len(lines) == size[1]
    assert max(map(len, lines)) <= size[0]
