"""Events of a feed as JSON Lines: a recording, which `attach --replay` shows."""

from __future__ import annotations

from dsray_inspect.agent.documents import EventView, SnapshotView
from dsray_inspect.agent.feed import HistoryLoaded, SampleTaken
from dsray_inspect.agent.formats import renders
from dsray_inspect.agent.recording import line_of
from dsray_inspect.agent.text.style import Style


@renders(EventView)
def render_event(view: EventView, _style: Style) -> bytes:
    return line_of(view.event)


@renders(SnapshotView)
def render_snapshot(view: SnapshotView, _style: Style) -> bytes:
    line = line_of(SampleTaken(snapshot=view.snapshot))

    if view.history is None:
        return line

    return line + line_of(HistoryLoaded(history=view.history))
