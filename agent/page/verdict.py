"""The head of the page: the verdict, what it rests on, and the other findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dsray_inspect.agent.model import Finding
from dsray_inspect.agent.page.markup import Html, element
from dsray_inspect.agent.page.parts import bullets, date, facts, note, section
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.text import why
from dsray_inspect.agent.text.humanize import count, duration
from dsray_inspect.agent.text.truncate import cut_end

_WIDEST: Final = 600
"""A sentence may list what thousands of ranks have."""


def headline(report: ReportDocument) -> Html:
    verdict = report.explanation.verdict
    state = element("strong", verdict.state.upper(), class_=f"state s-{verdict.state}")
    return element("h1", state, " ", element("span", cut_end(verdict.summary, _WIDEST)))


def subject(report: ReportDocument) -> Html:
    """Return what the report is about, in one line."""
    snapshot = report.explanation.snapshot
    run = snapshot.run
    over_s = report.until_at - report.from_at
    parts = [
        snapshot.job.submission_id or f"job {snapshot.job.job_id}",
        (run.name or "") if run else "",
        f"run {run.id[:8]}" if run and run.id else "",
        count(len(snapshot.workers), "rank"),
        count(len(snapshot.nodes), "node"),
        count(report.samples, "sample") + (f" over {duration(over_s)}" if over_s > 0 else ""),
        date(report.until_at),
        "public: names are replaced" if report.public else "",
    ]
    return element("p", " · ".join(part for part in parts if part), class_="subject")


def explanation(report: ReportDocument) -> Html:
    told = report.explanation
    others = [found for found in told.findings if found.summary != told.verdict.summary]
    return section(
        "why",
        "Why",
        _damage(report),
        facts(why.facts(told)),
        *(_finding(found) for found in others),
    )


def _damage(report: ReportDocument) -> Html:
    if report.damage is None:
        return note("")

    return note(f"The incident file is {report.damage}; this is what could be read of it.")


def _finding(found: Finding) -> Html:
    return element(
        "article",
        element("h3", "Also: ", cut_end(found.summary, _WIDEST)),
        bullets(_evidence(found)),
        class_="also",
    )


def _evidence(found: Finding) -> Iterator[str]:
    yield f"cause: {found.cause}"
    yield from (cut_end(text, _WIDEST) for text in found.evidence)
    yield f"next: {found.next_step}"
