"""Tool calls without a server: what the tests of the MCP tools share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dsray_inspect.agent.errors import ClusterUnreachable
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.mcp.calls import ToolCall, ToolReply
from dsray_inspect.agent.mcp.incident_files import IncidentFiles
from dsray_inspect.agent.mcp.live import LiveJobs
from dsray_inspect.agent.mcp.room import tokens_of
from dsray_inspect.agent.mcp.sample import Sample
from dsray_inspect.agent.mcp.toolbox import Toolbox
from dsray_inspect.agent.mcp.tools import ERROR_TOKENS, SPECS
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sampling.observation import SampleRequest
from dsray_inspect.agent.session import Session

Document = dict[str, Any]
NO_CLUSTER = "No Ray cluster runs on this machine."
REQUEST = SampleRequest(max_pause_ms=100)
EVERY_S = 5.0


def no_cluster() -> Session:
    raise ClusterUnreachable(NO_CLUSTER, help_text="Name one.")


def toolbox(
    folder: Path | None = None, *, files: Sequence[Path] = (), live: LiveJobs | None = None
) -> Toolbox:
    folders = [folder] if folder is not None else []
    jobs = live or LiveJobs(no_cluster, REQUEST, prefix="s1", every_s=EVERY_S)
    return Toolbox(jobs, IncidentFiles(files, folders), allows_locals=False, clock=lambda: 200.0)


def reply_of(box: Toolbox, tool: str, **given: Any) -> ToolReply:
    """Return a reply, which is within its budget."""
    reply = box.answer(ToolCall(tool=tool, arguments=msgspec.Raw(json.dumps(given).encode())))
    limit = ERROR_TOKENS if reply.is_error else SPECS[tool].tokens
    assert tokens_of(bytes(reply.document)) <= limit, (tool, given)
    return reply


def answer_of(box: Toolbox, tool: str, **given: Any) -> Document:
    reply = reply_of(box, tool, **given)
    document: Document = json.loads(bytes(reply.document))
    assert not reply.is_error, document
    return document


def error_of(box: Toolbox, tool: str, **given: Any) -> Document:
    reply = reply_of(box, tool, **given)
    document: Document = json.loads(bytes(reply.document))
    assert reply.is_error, document
    return document


def outside(value: Any) -> Iterator[str]:
    """Yield each text of a document, and each key, that is not below `untrusted`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key

            if key != "untrusted":
                yield from outside(item)
    elif isinstance(value, list):
        for item in value:
            yield from outside(item)


def inside(value: Any) -> Iterator[str]:
    """Yield each text below `untrusted`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _all(item) if key == "untrusted" else inside(item)
    elif isinstance(value, list):
        for item in value:
            yield from inside(item)


def _all(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _all(item)


def about_a_sample(incident: str) -> list[tuple[str, dict[str, Any]]]:
    """Return a call of each tool that tells of one sample."""
    return [
        ("why", {"incident": incident}),
        ("ranks", {"incident": incident}),
        ("stacks", {"incident": incident}),
        ("stacks", {"incident": incident, "ranks": [1], "locals": True, "log_lines": 100}),
        ("env_diff", {"incident": incident}),
        ("env_diff", {"incident": incident, "name": "A"}),
        ("history", {"incident": incident}),
    ]


def live_sample(*snapshots: Snapshot) -> Sample:
    return Sample(id="s1.1", source="live", explanation=explain(snapshots))
