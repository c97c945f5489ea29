"""`make screenshots`: the README's pictures, drawn from an incident that was recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dsray_inspect.agent.feed import Event
from dsray_inspect.agent.recording import read_window
from tests.tui.screen import ROOT, app_on, press, refuse_other_textual, shown

INCIDENT = ROOT / "tests" / "golden" / "snapshots" / "hung.json"
IMAGES = ROOT / "docs" / "images"
PICTURES = {
    "overview": ((120, 30), ("1",)),
    "rank": ((120, 30), ("1", "enter")),
    "findings": ((120, 26), ("5",)),
}


def main() -> None:
    refuse_other_textual()
    IMAGES.mkdir(parents=True, exist_ok=True)

    for name, (size, keys) in PICTURES.items():
        svg = asyncio.run(draw(read_window(INCIDENT), size, keys))
        path: Path = IMAGES / f"{name}.svg"
        path.write_text(svg)
        print(path.relative_to(ROOT))


async def draw(events: list[Event], size: tuple[int, int], keys: tuple[str, ...]) -> str:
    app = app_on(events)

    async with shown(app, size) as pilot:
        await press(pilot, *keys)
        return app.export_screenshot(title="dsray-inspect attach")


if __name__ == "__main__":
    main()
