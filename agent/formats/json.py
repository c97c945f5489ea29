"""One JSON document on one line; its keys are a contract."""

from __future__ import annotations

import msgspec

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
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.text.style import Style


@renders(SnapshotView)
def render_snapshot(view: SnapshotView, _style: Style) -> bytes:
    return _line(view.snapshot)


@renders(ExplanationView)
def render_explanation(view: ExplanationView, _style: Style) -> bytes:
    return _line(view.explanation)


@renders(DashboardsView)
@renders(EnvView)
@renders(StacksView)
@renders(TraceView)
@renders(VerdictChangeView)
def render_view(
    view: DashboardsView | EnvView | StacksView | TraceView | VerdictChangeView, _style: Style
) -> bytes:
    return _line(view.document())


@renders(Diagnosis)
@renders(DiffDocument)
@renders(LaunchPlan)
@renders(RecordDocument)
@renders(ReportDocument)
@renders(RunList)
def render_document(
    document: Diagnosis | DiffDocument | LaunchPlan | RecordDocument | ReportDocument | RunList,
    _style: Style,
) -> bytes:
    return _line(document)


def _line(document: msgspec.Struct) -> bytes:
    return msgspec.json.encode(document) + b"\n"
