"""Jobs of a thousand ranks and more: culprits stay visible, and only visible rows are drawn."""

from __future__ import annotations

import pytest

from dsray_inspect.tui.panels.rank_grid import MAX_LINES, grid
from dsray_inspect.tui.rank_status import rank_statuses
from dsray_inspect.tui.view_state import MAX_RANKS, ViewState
from tests.tui.histories import many, sampled
from tests.tui.terminal import Terminal, app_on


@pytest.mark.parametrize(("ranks", "width"), [(97, 80), (1000, 80), (10_000, 80), (10_000, 160)])
def test_every_culprit_is_in_the_grid(ranks: int, width: int) -> None:
    blamed = (0, ranks // 2, ranks - 1)
    snapshot = many(ranks, blamed=blamed)
    rows = grid(snapshot, rank_statuses(snapshot), width)
    lines = ["".join(text for text, _ in row.draw(width)) for row in rows[:-2]]
    assert len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= width
    assert sum(line.count("✗") for line in lines) == len(blamed)


async def test_the_first_screen_of_a_thousand() -> None:
    async with Terminal(app_on(sampled([many(1000, blamed=(77,))]))) as terminal:
        text = terminal.text

    assert "999 waits 77" in text
    assert "1 BLOCKED" in text
    assert "host-9     5    ✗ 77" in text
    assert "load_batch:81" in text


def test_the_window_of_many_ranks_is_shorter() -> None:
    state = ViewState()
    snapshot = many(1000, blamed=(1,))

    for event in sampled([snapshot] * 300):
        state.add(event)

    assert len(state.window) == MAX_RANKS // 1000
