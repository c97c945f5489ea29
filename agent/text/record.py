"""`record` as text: the verdict, what was written, and what is not in it."""

from __future__ import annotations

from collections.abc import Iterator

from dsray_inspect.agent.documents import RecordDocument
from dsray_inspect.agent.text.humanize import count, duration, size
from dsray_inspect.agent.text.style import PLAIN, Style

_HEAD = 10
_MOST_NAMES = 10


def record_text(document: RecordDocument, style: Style = PLAIN) -> str:
    """Return what a recording wrote."""
    verdict = document.verdict
    headline = f"{style.state(verdict.state.upper(), verdict.state)}: {verdict.summary}"
    return "\n".join([headline, "", *_body(document)])


def _body(document: RecordDocument) -> Iterator[str]:
    over = f" over {duration(document.seconds)}" if document.samples > 1 else ""
    ranks = f"{count(document.samples, 'sample')}{over}, {count(document.ranks, 'rank')}"
    kind = ", public" if document.public else ""
    yield _line("wrote", f"{document.file} ({size(document.bytes)}{kind}): {ranks}")

    for number, what in enumerate(document.left_out):
        yield _line("" if number else "left out", what)

    if document.redacted:
        yield _line("redacted", _some(document.redacted))

    if document.replaced:
        yield _line("replaced", _some(document.replaced))

    yield _line("next", f"dsray-inspect why --from {document.file}")


def _some(names: tuple[str, ...]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join([*names[:_MOST_NAMES], *([f"and {rest} more"] if rest > 0 else [])])


def _line(head: str, text: str) -> str:
    return f"  {head:<{_HEAD}}{text}".rstrip()
