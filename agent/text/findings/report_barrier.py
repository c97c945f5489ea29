"""Reports that not all ranks make."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.report_barrier import ReportBarrier
from dsray_inspect.agent.text.findings.phrases import barrier_name, where_name
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import duration, name_ranks, sentence


@words.register
def report_barrier(facts: ReportBarrier, _detection: Detection) -> Words:
    reporters, others = name_ranks(facts.reporters), name_ranks(facts.others)
    inside = barrier_name(facts.collective or "collective")
    return Words(
        summary=f"{sentence(reporters)} called ray.train.report and {others} did not: they have "
        f"been waiting for one another for {duration(facts.waited_s)}.",
        evidence=(
            f"{reporters}: in ray.train.report, called by {where_name(facts.reports_at)}",
            f"{others}: in {inside}, {where_name(facts.others_at)}",
            "every rank must call ray.train.report the same number of times",
        ),
    )
