"""What screens may know about the app."""

from __future__ import annotations

from typing import Protocol

from dsray_inspect.tui.source import Source
from dsray_inspect.tui.view_state import ViewState


class AppState(Protocol):
    """The state behind all screens; they read it, and change it by messages only."""

    view_state: ViewState
    source: Source
    job_name: str
    in_utc: bool
    """Whether times of day are shown in UTC instead of local time."""

    def now(self) -> float:
        """Return the wall-clock time in seconds."""

    def connecting_text(self) -> str:
        """Return what to show until the first snapshot arrives."""
