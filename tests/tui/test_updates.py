"""Snapshots that arrive while somebody reads the screen."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.tui.messages import EventsArrived
from tests.tui.histories import many, restarting, sampled
from tests.tui.terminal import Terminal, app_on


async def test_a_paused_screen_stays_at_its_snapshot(terminal: Terminal) -> None:
    await terminal.press("p", "left_square_bracket")
    before = terminal.app.view_state.shown
    newest = terminal.app.view_state.window[-1]
    newer = msgspec.structs.replace(newest, taken_at=newest.taken_at + 1)
    terminal.app.post_message(EventsArrived(tuple(sampled([newer]))))
    await terminal.until(lambda: len(terminal.app.view_state.window) == 31)
    assert terminal.app.view_state.shown is before
    await terminal.press("p")
    assert terminal.app.view_state.shown == newer


async def test_a_rank_is_followed_over_a_restart() -> None:
    events = restarting()
    before = app_on(events[:10])

    async with Terminal(before) as terminal:
        await terminal.press("enter")
        assert "pid 32767" in terminal.text
        terminal.app.post_message(EventsArrived(tuple(events[10:])))
        await terminal.until_shown("pid 36767")
        assert "restarted" in terminal.text


async def test_the_cursor_is_on_the_culprit_until_it_is_moved() -> None:
    """The first snapshot may not tell yet which rank Enter should open."""
    first, then = many(40, blamed=(5,)), many(40, blamed=(3, 5))
    rest: Snapshot = msgspec.structs.replace(then, taken_at=then.taken_at + 1)

    async with Terminal(app_on(sampled([first]))) as terminal:
        assert terminal.row.startswith("rank 5 ")
        terminal.app.post_message(EventsArrived(tuple(sampled([rest]))))
        await terminal.until(
            lambda: terminal.app.view_state.shown == rest and not terminal.app._is_refresh_due
        )
        assert terminal.row.startswith("rank 3 ")


async def test_the_cursor_stays_on_its_rank() -> None:
    """In the next snapshot another rank is in trouble, and is listed above."""
    first, then = many(40, blamed=(5,)), many(40, blamed=(5, 30))
    rest: Snapshot = msgspec.structs.replace(then, taken_at=then.taken_at + 1)

    async with Terminal(app_on(sampled([first]))) as terminal:
        await terminal.press("j", "j", "j")
        before = terminal.row.split()[:2]
        terminal.app.post_message(EventsArrived(tuple(sampled([rest]))))
        await terminal.until(
            lambda: terminal.app.view_state.shown == rest and not terminal.app._is_refresh_due
        )
        assert terminal.row.split()[:2] == before


async def test_a_view_may_be_updated_before_it_has_its_widgets(terminal: Terminal) -> None:
    terminal.app.action_open_view("findings")
    terminal.app._refresh_views()
    await terminal.pilot.pause()
    assert "who waits for what" in terminal.text
