"""The colours and styles of the screens, which their texts (`test_pictures`) do not hold.

    .venv/bin/pytest tests/tui --snapshot-update

draws them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
from textual.pilot import Pilot

from tests.tui.histories import WINDOWS
from tests.tui.screen import app_on, first_look, press, refuse_other_textual
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
def held(snap_compare: Compare, pytestconfig: pytest.Config) -> Callable[..., None]:
    """Return what holds a screen to its picture."""
    if pytestconfig.getoption("update_snapshots"):
        refuse_other_textual()

    def hold(window: str, view: str, *, size: tuple[int, int], theme: str) -> None:
        app = app_on(WINDOWS[window]())
        app.theme = f"textual-{theme}"

        async def go_to(pilot: Pilot[int]) -> None:
            await first_look(app, pilot)
            await press(pilot, *KEYS[view])

        is_same = snap_compare(app, terminal_size=size, run_before=go_to)
        assert is_same, "it looks otherwise; --snapshot-update draws it anew"

    return hold


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", KEYS)
@pytest.mark.parametrize("window", STATES)
def test_views(
    held: Callable[..., None], window: str, view: str, size: tuple[int, int], theme: str
) -> None:
    held(window, view, size=size, theme=theme)
