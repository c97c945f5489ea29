"""A trace file that Perfetto and chrome://tracing open."""

from __future__ import annotations

from dsray_inspect.agent.documents import TraceView
from dsray_inspect.agent.formats import renders
from dsray_inspect.agent.text.style import Style
from dsray_inspect.exporters import trace_json


@renders(TraceView)
def render_trace(view: TraceView, _style: Style) -> bytes:
    return trace_json.encode(view.timeline)
