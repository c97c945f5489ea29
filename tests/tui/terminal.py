"""Run the app without a real terminal, press its keys, and read its screen as a user does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.color import Color
from textual.pilot import Pilot

from dsray_inspect.agent.feed import Event, SampleFailed, SampleTaken
from dsray_inspect.tui.app import InspectApp
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.source import Source
from tests.tui.histories import Live

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "tests" / "golden" / "tui"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
SIZE = (80, 24)


def app_on(
    events: Sequence[Event], *, source: Source | None = None, folder: Path | None = None
) -> InspectApp:
    """Return the app on a window, at the moment of its last snapshot."""
    snapshots = [event.snapshot for event in events if isinstance(event, SampleTaken)]
    failures = [event.at for event in events if isinstance(event, SampleFailed)]
    now = max([snapshots[-1].taken_at + 0.2 if snapshots else 0.0, *failures])
    name = snapshots[-1].job.submission_id or "job" if snapshots else "j1"
    return InspectApp(source or Live(events), name, clock=lambda: now, in_utc=True, folder=folder)


class Terminal:
    """A running app; it has shown its first snapshot, and ends with the `async with` block."""

    def __init__(self, app: InspectApp, size: tuple[int, int] = SIZE) -> None:
        self.app = app
        self._size = size
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Terminal:
        run = self.app.run_test(size=self._size, notifications=True)
        self.pilot: Pilot[int] = await self._stack.enter_async_context(run)
        await wait_for_first_snapshot(self.app, self.pilot)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def press(self, *keys: str) -> None:
        await press(self.pilot, *keys)

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(self.pilot, condition)

    async def until_shown(self, text: str) -> None:
        await self.until(lambda: text in self.text)

    async def click(self, selector: str, column: int, line: int = 0) -> None:
        await self.pilot.click(selector, offset=(column, line))
        await self.pilot.pause()

    async def resize(self, width: int, height: int) -> None:
        await self.pilot.resize_terminal(width, height)
        await self.pilot.pause()

    @property
    def text(self) -> str:
        """The characters on the screen."""
        return text_of(self.app)

    @property
    def view_name(self) -> str:
        return self.app.view_name

    def line_with(self, text: str) -> str:
        return next((line for line in self.text.split("\n") if text in line), "")

    @property
    def row(self) -> str:
        """The text of the row under the cursor."""
        assert isinstance(self.app.screen, View)
        assert self.app.screen.list.current is not None
        return self.app.screen.list.current.text.strip()

    def background_of(self, text: str) -> Color | None:
        """Return the background of the first segment that contains a text."""
        strips = self.app.screen._compositor.render_strips()
        segments = (segment for strip in strips for segment in strip)
        style = next((segment.style for segment in segments if text in segment.text), None)
        return style.bgcolor if style is not None else None

    async def go_to(self, start: str, key: str = "j") -> None:
        """Move the cursor until its row starts with a text."""
        while not self.row.startswith(start):
            await self.press(key)


async def wait_for_first_snapshot(app: InspectApp, pilot: Pilot[int]) -> None:
    await until(pilot, lambda: bool(app.view_state.window) and app.has_shown)
    await pilot.pause()


async def until(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return

        await pilot.pause(0.02)

    pytest.fail("the screen did not show what the test waits for")


async def press(pilot: Pilot[int], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


def text_of(app: InspectApp) -> str:
    strips = app.screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip) for strip in strips]
    return "\n".join(line.rstrip() for line in lines)


def assert_same_picture(picture: str, name: str) -> None:
    """Compare with the golden text of that name, or write it if an update was asked for."""
    path = PICTURES / f"{name}.txt"

    if UPDATE:
        refuse_other_textual()
        path.parent.mkdir(exist_ok=True)
        path.write_text(picture + "\n")

    assert picture + "\n" == path.read_text(), f"UPDATE_GOLDEN=1 rewrites {path.name}"


def refuse_other_textual() -> None:
    """End the run unless Textual, and Rich that draws for it, are the constrained versions."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)

    for name in ("textual", "rich"):
        if version(name) != pinned[name]:
            pytest.exit(f"pictures need {name} {pinned[name]}; {version(name)} is installed")
