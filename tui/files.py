"""Files that the user saves: the window of snapshots, and a picture of the screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dsray_inspect.agent.recording import write_window
from dsray_inspect.tui.state import AppState


class SavedFile(NamedTuple):
    """A file that was written, or in `problem` why it could not be."""

    path: Path
    problem: str = ""


def save_window(state: AppState, folder: Path) -> SavedFile:
    """Write the snapshots up to the one on the screen, for `attach --replay`."""
    view_state, path = state.view_state, _new_path(state, folder, "jsonl")
    return _write_file(path, lambda: write_window(path, view_state.past, view_state.history))


def save_picture(state: AppState, folder: Path, svg: str) -> SavedFile:
    path = _new_path(state, folder, "svg")
    return _write_file(path, lambda: path.write_text(svg))


def _write_file(path: Path, write: Callable[[], object]) -> SavedFile:
    try:
        write()
    except OSError as error:
        return SavedFile(path, f"Cannot write {path}: {error.strerror}.")

    return SavedFile(path)


def _new_path(state: AppState, folder: Path, suffix: str) -> Path:
    at = time.strftime("%Y%m%d-%H%M%S", time.localtime(state.now()))
    job = "".join(c if c.isalnum() or c in "-_" else "-" for c in state.job_name)
    return folder / f"dsray-{job}-{at}.{suffix}"
