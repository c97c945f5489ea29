"""Jobs of a thousand ranks and more: culprits stay in sight, and only what is seen is drawn."""

from __future__ import annotations

import asyncio

import pytest

from dsray_inspect.tui.rank_status import standings
from dsray_inspect.tui.screens.rank_grid import MOST_LINES, grid
from dsray_inspect.tui.view_state import KEEP_RANKS, ViewState
from tests.tui.histories import many, seen
from tests.tui.screen import app_on, shown, text_of


@pytest.mark.parametrize(("ranks", "width"), [(97, 80), (1000, 80), (10_000, 80), (10_000, 160)])
def test_every_culprit_is_in_the_grid(ranks: int, width: int) -> None:
    blamed = (0, ranks // 2, ranks - 1)
    snapshot = many(ranks, blamed=blamed)
    rows = grid(snapshot, standings(snapshot), width)
    lines = ["".join(text for text, _ in row.draw(width)) for row in rows[:-2]]
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= width
    assert sum(line.count("✗") for line in lines) == len(blamed)


def test_the_first_screen_of_a_thousand() -> None:
    app = app_on(seen([many(1000, blamed=(77,))]))

    async def main() -> str:
        async with shown(app):
            return text_of(app)

    text = asyncio.run(main())
    assert "999 waits 77" in text
    assert "1 BLOCKED" in text
    assert "host-9     5    ✗ 77" in text
    assert "load_batch:81" in text


def test_of_many_ranks_fewer_looks_are_kept() -> None:
    story = ViewState()
    look = many(1000, blamed=(1,))

    for event in seen([look] * 300):
        story.add(event)

    assert len(story.window) == KEEP_RANKS // 1000
