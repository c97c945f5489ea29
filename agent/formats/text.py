"""Plain text for people, in colors on a terminal."""

from __future__ import annotations

from dsray_inspect.agent.differences import DiffDocument
from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.documents import (
    DashboardsView,
    EnvView,
    ExplanationView,
    RecordDocument,
    RunList,
    SnapshotView,
    StacksView,
    TraceView,
    VerdictChangeView,
)
from dsray_inspect.agent.formats import renders
from dsray_inspect.agent.launch.plan import LaunchPlan
from dsray_inspect.agent.text.diff import diff_text
from dsray_inspect.agent.text.doctor import diagnosis_text
from dsray_inspect.agent.text.env import env_text
from dsray_inspect.agent.text.graph import graph_text
from dsray_inspect.agent.text.launch import launch_text
from dsray_inspect.agent.text.logs import logs_text
from dsray_inspect.agent.text.record import record_text
from dsray_inspect.agent.text.report import report
from dsray_inspect.agent.text.runs import runs_text
from dsray_inspect.agent.text.stacks import stacks_text
from dsray_inspect.agent.text.style import Style
from dsray_inspect.agent.text.trace import trace_text
from dsray_inspect.agent.text.verdict_change import verdict_line
from dsray_inspect.agent.text.why import why_text


@renders(RunList)
def render_runs(document: RunList, _style: Style) -> str:
    return runs_text(document.runs)


@renders(SnapshotView)
def render_snapshot(view: SnapshotView, style: Style) -> str:
    return report(view.snapshot, style, view.history)


@renders(ExplanationView)
def render_explanation(view: ExplanationView, style: Style) -> str:
    text = why_text(view.explanation, style)
    return f"{text}\n\n{graph_text(view.explanation.graph)}" if view.with_graph else text


@renders(StacksView)
def render_stacks(view: StacksView, style: Style) -> str:
    parts = (stacks_text(view.snapshot, style, full=view.full), logs_text(view.snapshot, style))
    return "\n\n".join(part for part in parts if part)


@renders(EnvView)
def render_env(view: EnvView, style: Style) -> str:
    return env_text(view.snapshot, style, show_all=view.show_all)


@renders(LaunchPlan)
def render_launch(document: LaunchPlan, style: Style) -> str:
    return launch_text(document, style)


@renders(TraceView)
def render_trace(view: TraceView, style: Style) -> str:
    notes = view.timeline.notes
    return trace_text(view.summary(), notes, style, past=view.past, now_ns=view.now_ns)


@renders(RecordDocument)
def render_record(document: RecordDocument, style: Style) -> str:
    return record_text(document, style)


@renders(DiffDocument)
def render_diff(document: DiffDocument, style: Style) -> str:
    return diff_text(document, style)


@renders(VerdictChangeView)
def render_verdict_change(view: VerdictChangeView, style: Style) -> str:
    return verdict_line(view.snapshot, style)


@renders(Diagnosis)
def render_diagnosis(document: Diagnosis, style: Style) -> str:
    return diagnosis_text(document, style)


@renders(DashboardsView)
def render_dashboards(view: DashboardsView, _style: Style) -> str:
    return "\n".join(str(view.folder / path) for path in view.changed)
