"""`make screenshots`: the README's pictures, drawn from a recorded incident."""

from __future__ import annotations

import asyncio
from pathlib import Path

from dsray_inspect.agent.feed import Event
from dsray_inspect.agent.recording import read_window
from tests.tui.terminal import ROOT, Terminal, app_on, refuse_other_textual

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
    async with Terminal(app_on(events), size) as terminal:
        await terminal.press(*keys)
        return terminal.app.export_screenshot(title="dsray-inspect attach")


if __name__ == "__main__":
    main()
