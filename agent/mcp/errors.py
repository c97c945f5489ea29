"""Errors as tools report them: a code, and what and why in words that may have the job's in them."""

from __future__ import annotations

from typing import Final

import msgspec

from dsray_inspect.agent.errors import (
    AmbiguousTarget,
    ClusterUnreachable,
    InspectError,
    PermissionMissing,
    TargetNotFound,
    TimedOut,
    UsageError,
    VersionUnsupported,
)
from dsray_inspect.agent.mcp.calls import ToolReply
from dsray_inspect.agent.mcp.documents import ErrorAnswer
from dsray_inspect.agent.mcp.job_text import LINE, NOTICE, SENTENCE, clean
from dsray_inspect.agent.mcp.notes import ErrorText

_CODES: Final[dict[type[InspectError], str]] = {
    UsageError: "usage",
    AmbiguousTarget: "ambiguous",
    TargetNotFound: "not_found",
    ClusterUnreachable: "cluster_unreachable",
    PermissionMissing: "permission",
    TimedOut: "timed_out",
    VersionUnsupported: "unsupported_version",
}


def error_reply(error: InspectError) -> ToolReply:
    return _reply(_CODES.get(type(error), "failed"), str(error), error.help_text)


def bug_reply(error: Exception) -> ToolReply:
    """Return a reply for an error that nobody expected."""
    return _reply(
        "bug",
        f"{type(error).__name__}: {error}",
        "This is a bug in dsray-inspect; the other tools may still answer.",
    )


def _reply(code: str, what: str, next: str) -> ToolReply:
    text = ErrorText(what=clean(what, SENTENCE), next=clean(next, LINE))
    document = msgspec.json.encode(ErrorAnswer(notice=NOTICE, error=code, untrusted=text))
    return ToolReply(document=msgspec.Raw(document), is_error=True)
