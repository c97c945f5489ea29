"""The colours and styles of the screens, which `test_pictures` does not cover.

    .venv/bin/pytest tests/tui --snapshot-update

redraws the pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from textual.pilot import Pilot

from tests.tui.histories import WINDOWS
from tests.tui.terminal import app_on, press, refuse_other_textual, wait_for_first_snapshot
from tests.tui.test_pictures import SIZES, VIEWS

Compare: TypeAlias = Callable[..., bool]
KEYS = {
    **{view: (str(number),) for number, view in enumerate(VIEWS, 1)},
    "rank": ("1", "enter"),
    "help": ("1", "question_mark"),
}
THEMES = ("dark", "light")
STATES = ("healthy", "hung", "restarting", "blind", "lost")


@pytest.fixture
def compare(snap_compare: Compare, pytestconfig: pytest.Config) -> Callable[..., None]:
    """Return a function that compares a screen with its picture."""
    if pytestconfig.getoption("update_snapshots"):
        refuse_other_textual()

    def compare_screen(window: str, view: str, *, size: tuple[int, int], theme: str) -> None:
        app = app_on(WINDOWS[window]())
        app.theme = f"textual-{theme}"

        async def go_to(pilot: Pilot[int]) -> None:
            await wait_for_first_snapshot(app, pilot)
            await press(pilot, *KEYS[view])

        is_same = snap_compare(app, terminal_size=size, run_before=go_to)
        assert is_same, "the screen has changed; --snapshot-update redraws its picture"

    return compare_screen


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", KEYS)
@pytest.mark.parametrize("window", STATES)
def test_views(
    compare: Callable[..., None], window: str, view: str, size: tuple[int, int], theme: str
) -> None:
    compare(window, view, size=size, theme=theme)
