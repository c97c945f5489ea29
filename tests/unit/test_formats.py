"""Output formats: found by their module's name, chosen by `--format` or by an older flag."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from dsray_inspect.agent.cli import group
from dsray_inspect.agent.differences import DiffDocument
from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.documents import (
    DashboardsView,
    EnvView,
    EventView,
    ExplanationView,
    RecordDocument,
    RunList,
    SnapshotView,
    StacksView,
    TraceView,
    VerdictChangeView,
)
from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.feed import HistoryLoaded, SampleTaken
from dsray_inspect.agent.formats import formats_of, renderer_of
from dsray_inspect.agent.history import History
from dsray_inspect.agent.launch.plan import LaunchPlan
from dsray_inspect.agent.recording import read_window
from dsray_inspect.agent.text.style import PLAIN
from tests.unit import snapshots

HUNG = snapshots.recorded("hung")
PAST = History(note="nothing is recorded")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.json"
    path.write_bytes(msgspec.json.encode(HUNG) + b"\n")
    return path


def run(*args: str) -> None:
    group.main(args, standalone_mode=False)


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (RunList, ("json", "text")),
        (SnapshotView, ("json", "jsonl", "text")),
        (EventView, ("jsonl",)),
        (ExplanationView, ("json", "text")),
        (StacksView, ("collapsed", "json", "text")),
        (EnvView, ("json", "text")),
        (RecordDocument, ("json", "text")),
        (TraceView, ("json", "perfetto", "text")),
        (VerdictChangeView, ("json", "text")),
        (Diagnosis, ("json", "text")),
        (DiffDocument, ("json", "text")),
        (LaunchPlan, ("json", "text")),
        (DashboardsView, ("json", "text")),
    ],
)
def test_each_document_has_its_formats(document: type, names: tuple[str, ...]) -> None:
    assert formats_of(document) == names


@pytest.mark.parametrize(
    "command", ["ls", "attach", "why", "stacks", "env", "trace", "serve", "doctor", "demo"]
)
def test_an_unknown_format_is_an_error_before_any_cluster_is_asked(command: str) -> None:
    with pytest.raises(UsageError, match=r"has no format yaml; it has (\w+, )*\w+ and text\.$"):
        run(command, "--format", "yaml", "--address", "192.0.2.1:6379")


def test_follow_has_json_lines_only(recording: Path) -> None:
    with pytest.raises(UsageError, match=r"no format text; it has jsonl\.$"):
        run("attach", "--follow", "--format", "text")


@pytest.mark.parametrize(
    "args",
    [
        ("stacks", "--collapsed", "--json"),
        ("--json", "stacks", "--collapsed"),
        ("stacks", "--collapsed", "--format", "text"),
        ("--format", "text", "ls", "--json"),
        ("attach", "--text", "--format", "jsonl"),
    ],
)
def test_two_formats_contradict_each_other(args: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="contradict each other"):
        run(*args)


@pytest.mark.parametrize(
    "args",
    [
        ("attach", "--json"),
        ("--json", "attach"),
        ("attach", "--format", "json"),
        ("--format", "json", "attach"),
    ],
)
def test_json_is_short_for_the_format(
    args: tuple[str, ...], recording: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run(*args, "--replay", str(recording))
    assert capfdbinary.readouterr().out == recording.read_bytes()


def test_a_snapshot_as_json_lines_is_a_recording(tmp_path: Path) -> None:
    rendered = renderer_of(SnapshotView, "jsonl")(SnapshotView(snapshot=HUNG, history=PAST), PLAIN)
    assert isinstance(rendered, bytes)
    path = tmp_path / "recording.jsonl"
    path.write_bytes(rendered)
    assert read_window(path) == [SampleTaken(snapshot=HUNG), HistoryLoaded(history=PAST)]


def test_the_document_of_stacks_has_each_rank_that_was_not_read() -> None:
    worker = HUNG.workers[1]
    evidence = msgspec.structs.replace(worker.evidence, stack="no ptrace right")
    unread = msgspec.structs.replace(worker, evidence=evidence)
    snapshot = msgspec.structs.replace(HUNG, workers=(HUNG.workers[0], unread))
    document = json.loads(renderer_of(StacksView, "json")(StacksView(snapshot=snapshot), PLAIN))
    assert document["schema_version"] == 1
    assert [(rank["rank"], rank["why"]) for rank in document["unseen"]] == [(1, "no ptrace right")]
    assert len(document["groups"]) == len(HUNG.stacks.groups)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load = importlib.import_module

    def without_exporters(name: str) -> ModuleType:
        if name.endswith(".perfetto"):
            raise ModuleNotFoundError(name="opentelemetry")

        return load(name)

    monkeypatch.setattr(importlib, "import_module", without_exporters)

    with pytest.raises(UsageError, match="perfetto needs the package opentelemetry"):
        renderer_of(TraceView, "perfetto")
