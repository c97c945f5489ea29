"""What this page rests on: what answered, what was left out, and versions."""

from __future__ import annotations

from collections.abc import Iterator

from dsray_inspect.agent.page.markup import Html, element
from dsray_inspect.agent.page.parts import date, facts, printed, section
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.text.report import evidence_lines
from dsray_inspect.agent.text.style import PLAIN


def about(report: ReportDocument) -> Html:
    return section(
        "about",
        "What this page rests on",
        facts((*printed(evidence_lines(report.explanation.snapshot, PLAIN)), *_contents(report))),
        element(
            "p", "All times are UTC. Nothing on this page comes from the network.", class_="note"
        ),
    )


def _contents(report: ReportDocument) -> Iterator[tuple[str, str]]:
    yield "samples", f"{report.samples}, {date(report.from_at)} to {date(report.until_at)}"
    yield from _listed("left out", report.left_out)
    yield from _listed("redacted", report.redacted)
    yield from _listed("replaced", report.replaced)
    yield from _listed(
        "versions",
        [f"{package} {' / '.join(found)}" for package, found in report.versions.items()],
    )
    yield "recorded by", f"dsray-inspect {report.tool}"


def _listed(head: str, texts: list[str] | tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for number, text in enumerate(texts):
        yield "" if number else head, text
