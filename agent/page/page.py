"""The whole page: the sections in their frame, and a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from string import Template
from typing import Final

from dsray_inspect.agent.page.about import about
from dsray_inspect.agent.page.data import page_data
from dsray_inspect.agent.page.differences import differences
from dsray_inspect.agent.page.flame_graph import flame_graph
from dsray_inspect.agent.page.logs import logs
from dsray_inspect.agent.page.markup import Html, element, join
from dsray_inspect.agent.page.ranks import ranks
from dsray_inspect.agent.page.stacks import stacks
from dsray_inspect.agent.page.start import start
from dsray_inspect.agent.page.timeline import timeline
from dsray_inspect.agent.page.verdict import explanation, headline, subject
from dsray_inspect.agent.page.waits import waits
from dsray_inspect.agent.report.document import ReportDocument

_LINKS: Final = (
    ("why", "Why", explanation),
    ("timeline", "Timeline", timeline),
    ("ranks", "Ranks", ranks),
    ("flame-graph", "Flame graph", flame_graph),
    ("stacks", "Stacks", stacks),
    ("waits", "Waits", waits),
    ("differences", "Differences", differences),
    ("start", "Start-up", start),
    ("logs", "Logs", logs),
    ("about", "Sources", about),
)


def page_of(report: ReportDocument) -> str:
    """Return the page, which needs no other file and no network."""
    style, script = _file("page.css"), _file("page.js")
    drawn = [(name, title, draw(report)) for name, title, draw in _LINKS]
    links = join(element("a", title, href=f"#{name}") for name, title, html in drawn if html)
    verdict = report.explanation.verdict
    job = report.explanation.snapshot.job.label
    return Template(_file("page.html")).substitute(
        policy=_policy(style=style, script=script),
        title=element("title", f"{job}: {verdict.state.upper()} – dsray-inspect"),
        style=style,
        headline=headline(report),
        subject=subject(report),
        links=links,
        sections=Html("\n".join(html for _, _, html in drawn if html)),
        data=page_data(report),
        script=script,
    )


def _policy(*, style: str, script: str) -> str:
    """Return a Content-Security-Policy: our own style and script run, and nothing is loaded."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _file(name: str) -> str:
    return (resources.files("dsray_inspect.agent.page") / name).read_text(encoding="utf-8")
