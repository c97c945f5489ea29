"""Drive the app without a terminal, and read its screen as a user does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from textual.pilot import Pilot

from dsray_inspect.agent.feed import Event, SampleFailed, SampleTaken
from dsray_inspect.tui.app import InspectApp
from dsray_inspect.tui.source import Source
from tests.tui.histories import Live

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "tests" / "golden" / "tui"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))


def app_on(
    events: Sequence[Event], *, source: Source | None = None, folder: Path | None = None
) -> InspectApp:
    """Return the app on a window, at the moment of its last look."""
    last = [event.snapshot for event in events if isinstance(event, SampleTaken)]
    silent = [event.at for event in events if isinstance(event, SampleFailed)]
    now = max([last[-1].taken_at + 0.2 if last else 0.0, *silent])
    name = last[-1].job.submission_id or "job" if last else "j1"
    return InspectApp(source or Live(events), name, clock=lambda: now, in_utc=True, folder=folder)


@contextlib.asynccontextmanager
async def shown(app: InspectApp, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[int]]:
    """Run the app until its first look is on the screen, and end it afterwards."""
    async with app.run_test(size=size, notifications=True) as pilot:
        await first_look(app, pilot)
        yield pilot


async def first_look(app: InspectApp, pilot: Pilot[int]) -> None:
    """Wait until the first look is on the screen."""
    await until(pilot, lambda: bool(app.story.window) and app.has_shown)
    await pilot.pause()


async def until(pilot: Pilot[int], probe: object) -> None:
    """Wait until the probe is true."""
    assert callable(probe)

    for _ in range(400):
        if probe():
            return

        await pilot.pause(0.02)

    pytest.fail("the screen did not come to what was waited for")


async def press(pilot: Pilot[int], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


def text_of(app: InspectApp) -> str:
    """Return the characters on the screen."""
    strips = app.screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip) for strip in strips]
    return "\n".join(line.rstrip() for line in lines)


def held_to(picture: str, name: str) -> None:
    """Compare with the golden text of that name, or write it anew if that is asked for."""
    path = PICTURES / f"{name}.txt"

    if UPDATE:
        refuse_other_textual()
        path.parent.mkdir(exist_ok=True)
        path.write_text(picture + "\n")

    assert picture + "\n" == path.read_text(), f"UPDATE_GOLDEN=1 writes {path.name} anew"


def refuse_other_textual() -> None:
    """End the run unless Textual, and Rich that draws for it, are the constrained ones."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)

    for name in ("textual", "rich"):
        if version(name) != pinned[name]:
            pytest.exit(f"pictures are made with {name} {pinned[name]}, here is {version(name)}")
