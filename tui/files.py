"""What a key writes down: the window of looks, and a picture of the screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dsray_inspect.agent.recording import write_window

if TYPE_CHECKING:
    from dsray_inspect.tui.app import InspectApp


def save_window(app: InspectApp) -> None:
    """Write the looks up to the one that is shown, and say how to see them again."""
    looks, path = app.story.past, new_file(app, "jsonl")

    if written(app, path, lambda: write_window(path, looks, app.story.history)):
        text = f"dsray-inspect attach --replay {path.name}"
        app.notify(text, title=f"{len(looks)} looks saved", markup=False)


def save_picture(app: InspectApp) -> None:
    """Write what is on the screen as SVG."""
    path = new_file(app, "svg")

    if written(app, path, lambda: path.write_text(app.export_screenshot(title=""))):
        app.notify(path.name, title="Picture saved", markup=False)


def written(app: InspectApp, path: Path, write: Callable[[], object]) -> bool:
    """Write a file; where that cannot be, say why."""
    try:
        write()
    except OSError as error:
        text = f"{path} cannot be written: {error.strerror}."
        app.notify(text, severity="error", markup=False)
        return False

    return True


def new_file(app: InspectApp, suffix: str) -> Path:
    at = time.strftime("%Y%m%d-%H%M%S", time.localtime(app.now()))
    job = "".join(c if c.isalnum() or c in "-_" else "-" for c in app.job_name)
    return (app.folder or Path.cwd()) / f"dsray-{job}-{at}.{suffix}"
