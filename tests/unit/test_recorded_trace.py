"""`trace` and `doctor` on a file: what was seen live is shown again, and no file is a trap."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.doctor.report import Diagnosis
from dsray_inspect.agent.errors import ExitCode, PermissionMissing, UsageError
from dsray_inspect.agent.incident.layout import DOCTOR, RECORDERS
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.recorded_trace import recorded_timeline
from dsray_inspect.agent.incident.recorders import RecordersPart, fill, part_of
from dsray_inspect.agent.incident.replay import replay
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.agent.tracing.build import timeline
from dsray_inspect.agent.tracing.run import new_capture
from dsray_inspect.agent.unavailable import Unavailable
from tests.unit.incidents import capture_of, checked, run, two_samples, write

INTO_THE_PAST = "the last"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hang.dsray"
    write(path, two_samples())
    return path


def changed(path: Path, part: str, change: Any) -> Path:
    """Write a file anew with another document in one of its parts, or without it."""
    with zipfile.ZipFile(path) as archive:
        known = {name: archive.read(name) for name in archive.namelist()}

    document = change(json.loads(known.pop(part)))
    other = path.with_name("other.dsray")

    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in known.items():
            archive.writestr(name, data)

        if document is not None:
            archive.writestr(part, json.dumps(document))

    return other


# Recorders


def test_a_timeline_from_a_file_is_the_one_of_the_ranks(file: Path) -> None:
    found = replay(file, start=True)
    live = timeline(capture_of(found.last))
    filed = recorded_timeline(file, found)
    assert filed == live
    assert [span.name for span in filed.spans[:3]] == ["all_reduce", "all_reduce", "all_reduce"]
    assert len([span for span in filed.spans if span.end_ns is None and span.kind != "step"]) == 2


def test_a_rank_without_a_recording_says_why(file: Path) -> None:
    found = replay(file)
    capture = capture_of(found.last)
    capture.ranks[1].kept = []
    capture.ranks[1].no_recording = Unavailable(reason="failed", detail="it is stopped")
    again = new_capture(found.last)
    fill(again, part_of(capture))
    assert "rank 1: no collectives: it is stopped" in timeline(again).notes


def test_columns_shrink_to_little(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        part = archive.getinfo(RECORDERS)
        document = json.loads(archive.read(RECORDERS))

    assert part.compress_size < 700  # 62 collectives
    assert len(document["operations"]) == 2
    assert len(document["groups"]) == 1
    assert document["ranks"][0]["rows"]["ids"][:4] == [0, 1, 1, 1]


def test_trace_prints_the_past(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("trace", "--from", str(file)) == ExitCode.OK
    text = capfdbinary.readouterr().out.decode()
    assert text.startswith("Ranks 0-2, the last ")
    assert "inferred from the collectives" in text
    assert "not over    all_reduce #20 (group 1)" in text
    assert "ranks 0, 2 entered it" in text
    assert "rank 1 never did" in text


def test_trace_has_its_formats_of_a_file(
    file: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("trace", "--from", str(file), "--json")
    document = json.loads(capfdbinary.readouterr().out)
    spans = msgspec.convert(document["timeline"], Timeline).spans
    assert (document["past"], document["summary"]["inferred"]) == (True, True)
    assert spans == recorded_timeline(file, replay(file)).spans

    written = tmp_path / "trace.json"
    run("trace", "--from", str(file), "-o", str(written), "--quiet")
    assert json.loads(written.read_bytes())["traceEvents"]


def test_a_public_file_has_the_same_spans_with_other_names(file: Path) -> None:
    found = replay(file)
    capture = capture_of(found.last)

    for rank in capture.ranks:
        rank.group_ranks = {"acme_tp": (0, 1, 2)}
        rank.kept = [
            msgspec.structs.replace(
                entry, group="acme_tp", operation="acme_op", system="acme", dtype="acme16"
            )
            for entry in rank.kept
        ]

    public = Publisher().recorders(part_of(capture))
    assert b"acme" not in msgspec.json.encode(public)
    again = new_capture(found.last)
    renamed = {f"a{n + 1}": rank.worker.actor_id for n, rank in enumerate(capture.ranks)}
    public = msgspec.structs.replace(
        public,
        ranks=tuple(
            msgspec.structs.replace(one, actor_id=renamed[one.actor_id]) for one in public.ranks
        ),
    )
    fill(again, public)
    assert [(span.start_ns, span.end_ns) for span in timeline(again).spans] == [
        (span.start_ns, span.end_ns) for span in timeline(capture).spans
    ]


def test_without_recorders_the_samples_say_what_they_can(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    other = changed(file, RECORDERS, lambda _: None)
    found = recorded_timeline(other, replay(other))
    assert {span.kind for span in found.spans} == {"collective"}
    assert any("the file has no flight recorders" in note for note in found.notes)
    assert run("trace", "--from", str(other)) == ExitCode.OK
    assert "no whole step" in capfdbinary.readouterr().out.decode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows", "ids"), [1]),
        (("rows", "operations"), [9] * 21),
        (("rows", "starts_ns"), [-1] * 21),
        (("rows", "starts_ns"), [2**63] * 21),
        (("groups",), 7),
    ],
)
def test_recorders_that_make_no_sense_are_told(
    file: Path, path: tuple[str, ...], value: Any
) -> None:
    def change(document: Any) -> Any:
        at = document["ranks"][0]

        for key in path[:-1]:
            at = at[key]

        at[path[-1]] = value
        return document

    other = changed(file, RECORDERS, change)

    with pytest.raises(UsageError, match="is damaged") as caught:
        recorded_timeline(other, replay(other))

    assert "\n" not in str(caught.value)
    assert caught.value.help_text


def test_a_huge_tensor_is_none(file: Path) -> None:
    def change(document: Any) -> Any:
        document["operations"][0]["sizes"] = [[2**60, 2**60]]
        return document

    other = changed(file, RECORDERS, change)

    with pytest.raises(UsageError, match="is damaged"):
        recorded_timeline(other, replay(other))


def test_a_file_without_a_collective_is_told(file: Path) -> None:
    def change(document: Any) -> Any:
        return {**document, "ranks": []}

    other = changed(file, RECORDERS, change)

    with pytest.raises(PermissionMissing, match="holds no collective of any rank"):
        recorded_timeline(other, replay(other))


def test_seconds_need_the_live_job(file: Path) -> None:
    with pytest.raises(UsageError, match="--seconds needs the live job"):
        run("trace", "--from", str(file), "--seconds", "3")


def test_a_part_of_a_newer_version_may_have_more(file: Path) -> None:
    other = changed(file, RECORDERS, lambda document: {**document, "more": 1})
    assert replay(other).damage is None
    assert msgspec.convert({"read_at_ns": 1}, RecordersPart).ranks == ()


# Checks of the nodes


def test_doctor_prints_what_it_said(file: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("doctor", "--json", "--from", str(file)) == ExitCode.OK
    printed = msgspec.json.decode(capfdbinary.readouterr().out, type=Diagnosis)
    assert printed == checked()
    run("doctor", "--from", str(file))
    assert "kernel.yama.ptrace_scope=1" in capfdbinary.readouterr().out.decode()


def test_a_file_without_checks_says_so(file: Path) -> None:
    other = changed(file, DOCTOR, lambda _: None)

    with pytest.raises(UsageError, match="has no checks of the nodes") as caught:
        run("doctor", "--from", str(other))

    assert "manifest.json" in caught.value.help_text


def test_public_checks_say_the_same_of_other_names() -> None:
    private = checked()
    facts = private.nodes[0].facts
    assert facts is not None
    named = msgspec.structs.replace(
        facts,
        hostname="acme-7",
        python="/home/acme/bin/python",
        pyspy="/home/acme/bin/py-spy",
        stacks="no ptrace access to /home/acme/x",
        gpu_why="acme is gone",
        security_label="acme (enforce)",
        first_process="acmed",
        target=msgspec.structs.replace(facts.me, title="ray::AcmeActor", pid=9),
    )
    found = msgspec.structs.replace(
        private,
        cluster=msgspec.structs.replace(
            private.cluster, address="acme-7:6379", token="/home/acme/.ray/auth_token"
        ),
        nodes=(msgspec.structs.replace(private.nodes[0], hostname="acme-7", facts=named),),
    )
    public = Publisher().diagnosis(found)
    assert b"acme" not in msgspec.json.encode(public).lower()
    assert public.nodes[0].facts is not None
    assert public.nodes[0].facts.hidepid == ""
    assert public.nodes[0].lacks == private.nodes[0].lacks
    assert [fix.what for fix in public.fixes] == [fix.what for fix in private.fixes]
    assert public.cluster.address == "host-1:6379"
