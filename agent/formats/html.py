"""A page for a browser, self-contained."""

from __future__ import annotations

from dsray_inspect.agent.formats import renders
from dsray_inspect.agent.page.page import page_of
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.text.style import Style


@renders(ReportDocument)
def render_report(document: ReportDocument, _style: Style) -> bytes:
    return page_of(document).encode(errors="replace")
