"""Why something could not be read: a code for decisions, a sentence for people."""

from __future__ import annotations

from typing import Literal, get_args

from dsray_inspect.agent.model import Record

Reason = Literal[
    "not_asked",  # nobody asked for it
    "disabled",  # an option forbids it
    "unchanged",  # it is what the last answer said
    "not_running",  # its process has not started, or has ended
    "no_door",  # its launcher has no way to run anything inside it
    "died",  # it ended between being listed and being asked
    "timeout",  # no answer in time
    "no_ptrace",  # the kernel does not let us read the process
    "not_installed",  # the tool that reads it is missing there
    "malformed",  # the answer is not what was agreed on
    "failed",  # anything else; only `detail` says what
]
REASONS: tuple[Reason, ...] = get_args(Reason)


class Unavailable(Record, frozen=True, kw_only=True):
    """Stands in place of an answer. Decide by `reason`; `str` gives the sentence to show."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return self.detail


NOT_ASKED = Unavailable(reason="not_asked", detail="not asked")
