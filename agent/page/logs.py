"""What the log files of the ranks to blame end with."""

from __future__ import annotations

from collections.abc import Iterator

from dsray_inspect.agent.model import OK, LogFile
from dsray_inspect.agent.page.markup import Html, element
from dsray_inspect.agent.page.parts import folded, note, scrolled, section
from dsray_inspect.agent.report.document import RankLog, ReportDocument
from dsray_inspect.agent.text.humanize import duration, name_ranks, sentence


def logs(report: ReportDocument) -> Html:
    return section("logs", "Ends of the logs", *(part for log in report.logs for part in _log(log)))


def _log(logged: RankLog) -> Iterator[Html]:
    who = sentence(name_ranks([logged.rank]))

    for file in logged.log.files:
        yield _file(who, file)

    if logged.log.why != OK:
        yield note(f"{who}: {logged.log.why}")


def _file(who: str, file: LogFile) -> Html:
    title = f"{who}, {file.stream}: {file.path}, last written {duration(file.age_s)} before"
    text = element("pre", "\n".join(file.lines) or "(empty)")
    return folded(title, scrolled(text, label=f"{file.stream} of {who}"))
