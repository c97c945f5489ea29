"""What the server sends to the process that answers, and gets from it: one JSON a line."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.model import Record


class ToolCall(Record, frozen=True, kw_only=True):
    tool: str
    arguments: msgspec.Raw
    """The JSON object of the client, as it came."""


class ToolReply(Record, frozen=True, kw_only=True):
    document: msgspec.Raw
    is_error: bool = False
