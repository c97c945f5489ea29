"""What two runs differ in: what matters is told once, what says nothing is not, nothing is shown that is hidden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dsray_inspect.agent.diff.compare import compare
from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.differences import Because, DiffDocument, Difference, Kind, Value
from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import Frame, Gpu, Group, Snapshot
from dsray_inspect.agent.remote.redaction import REDACTED
from dsray_inspect.agent.text.diff import diff_text
from tests.unit.snapshots import (
    at_step,
    changed,
    many_ranks,
    recorded,
    restarted,
    with_env,
    with_setting,
)

ROOT = Path(__file__).parents[2]
HUNG, HEALTHY = recorded("hung"), recorded("healthy")
NAMES = ("healthy", "hung", "pending", "stopped")


def side(*snapshots: Snapshot, name: str = "x", **of: Any) -> Side:
    return Side(name=name, snapshots=snapshots, is_file=True, **of)


def diff(a: Snapshot, b: Snapshot) -> DiffDocument:
    return compare(side(a, name="a"), side(b, name="b"))


def told(document: DiffDocument) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(one.kind, one.name, one.ranks) for one in document.differences]


# Nothing


@pytest.mark.parametrize("name", NAMES)
def test_nothing_differs_from_itself(name: str) -> None:
    document = diff(recorded(name), recorded(name))
    assert (document.differences, document.expected) == ((), ())


def test_another_run_of_the_same_script_is_quiet() -> None:
    """With other ids, pids, ports, paths, hosts and times."""
    other = restarted(
        HEALTHY, 3600.0, step=9, idle_s=0.5, rss_bytes=570_000_000, node_ip="192.0.2.9"
    )
    other = with_env(other, "MASTER_PORT", "40001")
    other = with_env(other, "MASTER_ADDR", "192.0.2.9")
    other = with_env(other, "RAY_JOB_ID", "80000000")
    other = with_env(other, "WANDB_DIR", "/tmp/ray/session_2026-11-25_01-02-03_000001_77/wandb")
    before = with_env(HEALTHY, "WANDB_DIR", "/tmp/ray/session_2026-11-24_05-06-07_123456_1/wandb")
    nodes = tuple(
        msgspec.structs.replace(node, ip="192.0.2.9", hostname="box-9") for node in other.nodes
    )
    job = msgspec.structs.replace(other.job, submission_id="j99", job_id="80000000")
    other = msgspec.structs.replace(other, nodes=nodes, job=job)
    document = diff(before, other)
    assert document.differences == ()
    assert {one.because for one in document.expected} == {
        *("moment", "small", "port", "host", "ray_session", "made_up")
    }
    assert diff_text(document).split("\n")[3].startswith("Nothing differs that matters: 2 ranks, ")


# What differs


def test_one_variable_is_told_once_for_all_ranks() -> None:
    document = diff(with_env(HEALTHY, "FLAVOR", "a"), with_env(HEALTHY, "FLAVOR", "b"))
    assert told(document) == [("env", "FLAVOR", (0, 1))]
    assert "env         FLAVOR  ranks 0-1: a (runtime_env) → b (runtime_env)" in diff_text(document)


def test_a_variable_of_one_rank() -> None:
    document = diff(HEALTHY, with_env(HEALTHY, "NCCL_DEBUG", None, rank=1))
    assert told(document) == [("env", "NCCL_DEBUG", (1,))]
    assert "rank 1: WARN (runtime_env) → not set" in diff_text(document)


def test_many_ranks_are_one_line() -> None:
    many = many_ranks(HEALTHY, 64)
    document = diff(many, with_env(many, "FLAVOR", "b"))
    assert [(one.ranks[0], one.ranks[-1], len(one.ranks)) for one in document.differences] == [
        (0, 63, 64)
    ]


def test_a_setting_of_deepspeed_comes_before_a_variable() -> None:
    other = with_env(with_setting(HEALTHY, "gradient_clipping", "0.5"), "FLAVOR", "b")
    assert [kind for kind, _, _ in told(diff(HEALTHY, other))] == ["config", "env"]


def test_a_version() -> None:
    versions = {**HEALTHY.workers[0].versions, "torch": "2.12.1"}
    document = diff(HEALTHY, changed(HEALTHY, 1.0, rank=1, versions=versions))
    assert told(document) == [("version", "torch", (1,))]


def test_a_hang() -> None:
    healthy = at_step(HUNG, -60.0, 12)
    verdict = msgspec.structs.replace(
        HUNG.verdict, state="healthy", cause=None, ranks=(), summary="all is well"
    )
    healthy = msgspec.structs.replace(healthy, verdict=verdict, findings=())
    document = diff(healthy, HUNG)
    assert told(document) == [
        ("verdict", "state", ()),
        ("place", "at", (0, 2)),
        ("place", "at", (1,)),
    ]
    assert document.differences[2].a == Value(text="moves on")
    assert document.differences[2].b == Value(text="load_batch train.py:81 (user)")


def test_a_longer_wait_in_the_same_place_is_no_difference() -> None:
    later = changed(HUNG, 60.0, idle_s=171.0)
    assert diff(HUNG, later).differences == ()


def test_where_the_stacks_of_one_place_part() -> None:
    def lower(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        return (*frames[:-1], msgspec.structs.replace(frames[-1], name="broadcast"))

    groups = tuple(
        msgspec.structs.replace(group, frames=lower(group.frames)) if 0 in group.ranks else group
        for group in HUNG.stacks.groups
    )
    stacks = msgspec.structs.replace(HUNG.stacks, groups=groups)
    document = diff(HUNG, msgspec.structs.replace(HUNG, stacks=stacks))
    assert told(document) == [("frame", "first", (0, 2))]
    (only,) = document.differences
    assert only.a is not None
    assert only.b is not None
    assert only.a.text.startswith("all_reduce torch/distributed/distributed_c10d.py:")
    assert only.b.text.startswith("broadcast ")


def test_a_group_of_other_ranks() -> None:
    groups = (Group(id="1:0-1", name="1", ranks=(0, 1)),)
    assert told(diff(HUNG, msgspec.structs.replace(HUNG, groups=groups))) == [("group", "1", ())]


def test_what_follows_from_the_number_of_ranks_says_nothing_more() -> None:
    document = diff(many_ranks(HEALTHY, 8), with_env(many_ranks(HEALTHY, 16), "WORLD_SIZE", "16"))
    assert told(document) == [("world", "size", ()), ("node", "placement", ())]
    assert ("WORLD_SIZE", "world_size") in {(one.name, one.because) for one in document.expected}


def test_a_rank_that_is_missing() -> None:
    gone = msgspec.structs.replace(HUNG, workers=HUNG.workers[:2])
    document = diff(HUNG, gone)
    assert told(document) == [("world", "missing", ()), ("node", "placement", ())]
    assert "missing  none → rank 2" in diff_text(document)


def test_workers_of_unknown_rank_are_named() -> None:
    document = diff(HUNG, changed(HUNG, 0.0, rank=2, env={}))
    assert document.compared.ranks == 3
    unknown = tuple(msgspec.structs.replace(worker, rank=None) for worker in HUNG.workers)
    document = diff(HUNG, msgspec.structs.replace(HUNG, workers=unknown))
    assert document.compared.ranks == 0
    assert ("B: 3 workers", "their ranks are not known") in [
        (missed.what, missed.why) for missed in document.not_compared
    ]
    assert "the sides have no rank in common" in diff_text(document)


def test_gpus_of_another_kind() -> None:
    def on(name: str) -> Snapshot:
        gpu = Gpu(index=0, uuid="GPU-1", name=name, utilization=None, memory_used_bytes=None)
        nodes = tuple(msgspec.structs.replace(node, gpus=(gpu,)) for node in HUNG.nodes)
        slots = tuple(msgspec.structs.replace(one, uuid="GPU-1") for one in HUNG.workers[0].gpus)
        return msgspec.structs.replace(changed(HUNG, 0.0, rank=0, gpus=slots), nodes=nodes)

    document = diff(on("NVIDIA H200"), on("NVIDIA H100 80GB HBM3"))
    assert told(document) == [("gpu", "devices", (0,))]


# Figures


def paced(step_s: float, steps: int = 10) -> Side:
    return side(at_step(HEALTHY, 0.0, 100), at_step(HEALTHY, step_s * steps, 100 + steps))


@pytest.mark.parametrize(
    ("other_s", "because"), [(0.1, "small"), (0.19, "small"), (0.21, None), (0.04, None)]
)
def test_the_pace_of_steps(other_s: float, because: Because | None) -> None:
    document = compare(paced(0.101), paced(other_s))
    found = [one for one in (*document.differences, *document.expected) if one.name == "step_s"]
    assert [one.because for one in found] == [because]


def test_few_steps_are_no_pace() -> None:
    assert compare(paced(0.1), paced(0.9, steps=3)).differences == ()


def test_the_pace_before_a_hang_is_that_of_its_recorders() -> None:
    past = History(steps=20, step_s=0.3)
    document = compare(side(HUNG, history=past), side(HUNG, history=History(steps=20, step_s=0.1)))
    assert [
        (one.name, one.a and one.a.text, one.b and one.b.text) for one in document.differences
    ] == [("step_s", "300 ms", "100 ms")]
    assert "a step  300 ms → 100 ms (3.0 ×)" in diff_text(document)


def test_memory_of_ranks_is_told_by_its_median() -> None:
    grown = changed(HUNG, 0.0, rss_bytes=2 << 30)
    (only,) = diff(HUNG, grown).differences
    assert (only.kind, only.name, only.ranks) == ("figure", "rss_bytes", (0, 1, 2))
    assert only.b == Value(text="2.0 GiB", number=float(2 << 30))


# What says nothing


@pytest.mark.parametrize(
    ("name", "one", "other", "because"),
    [
        ("MASTER_PORT", "40577", "40578", "port"),
        ("TENSORBOARD_URL", "http://localhost:6006/x", "http://localhost:6007/x", "port"),
        ("SLURM_TASK_PID", "88", "99", "per_process"),
        ("HOSTNAME", "a", "b", "per_node"),
        ("RAY_RAYLET_PID", "1", "2", "ray_session"),
        ("RUN_ID", "5f3759df9b7cb5f3", "c0ffee00deadbeef", "made_up"),
        ("STARTED", "2026-11-24T09:26:35", "2026-11-25T10:00:00", "made_up"),
        ("STARTED", "1764000000", "1764000001.5", "made_up"),
        ("OUT", "/tmp/tmpab12cd_x/out", "/tmp/tmpzz99yy_q/out", "made_up"),
        ("OUT", "/tmp/run-12345/out", "/tmp/run-67890/out", "made_up"),
        ("OUT", "/data/run-12345/out", "/data/run-67890/out", None),
        ("OUT", "/tmp/old/out", "/tmp/new/out", None),
        ("BUCKET", "500000000", "600000000", None),
        ("SEED", "1", "2", None),
        ("CUDA_VISIBLE_DEVICES", "0,1", "2,3", "device"),
        ("CUDA_VISIBLE_DEVICES", "0,1", "2", None),
        ("RAY_TRAIN_NAME", "a", "b", None),
    ],
)
def test_the_rules_for_variables(name: str, one: str, other: str, because: Because | None) -> None:
    document = diff(with_env(HEALTHY, name, one), with_env(HEALTHY, name, other))
    found = [each for each in (*document.differences, *document.expected) if each.name == name]
    assert [each.because for each in found] == [because]


def test_the_names_of_both_runs_are_taken_out() -> None:
    def named(job: str) -> Snapshot:
        named = msgspec.structs.replace(
            HEALTHY.job, submission_id=job, entrypoint=f"x --out /d/{job}"
        )
        return with_env(msgspec.structs.replace(HEALTHY, job=named), "OUT", f"/data/{job}/out")

    assert diff(named("night-1"), named("day-7")).differences == ()
    assert told(diff(named("night-1"), with_env(named("day-7"), "OUT", "/data/else"))) == [
        ("env", "OUT", (0, 1))
    ]


# What is hidden


def test_a_redacted_value_cannot_be_compared() -> None:
    document = diff(HUNG, HUNG)
    assert [(one.what, one.ranks, one.why) for one in document.not_compared] == [
        ("HF_TOKEN", (0, 1, 2), "redacted on both sides")
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"postgres://{REDACTED}@db/a", f"postgres://{REDACTED}@db/b"),
        (REDACTED, "plain"),
        (REDACTED, None),
    ],
)
def test_what_is_left_of_a_redacted_value_may_differ(one: str, other: str | None) -> None:
    document = diff(with_env(HUNG, "DB", one), with_env(HUNG, "DB", other))
    assert told(document) == [("env", "DB", (0, 1, 2))]


def test_what_was_not_read_is_said() -> None:
    evidence = msgspec.structs.replace(HUNG.workers[0].evidence, env="no ptrace right")
    document = diff(HUNG, changed(HUNG, 0.0, rank=0, env={}, evidence=evidence))
    assert document.differences == ()
    assert ("environment", (0,), "B: no ptrace right") in [
        (one.what, one.ranks, one.why) for one in document.not_compared
    ]


def test_a_terminal_obeys_nothing_in_a_value() -> None:
    text = diff_text(diff(HEALTHY, with_env(HEALTHY, "X\x1b[2J", "\x1b]0;owned\x07\nrm")))
    assert "\x1b" not in text
    assert "X\\x1b[2J" in text
    assert "\\x1b]0;owned\\x07\\nrm" in text


# Properties

CHANGES = st.lists(
    st.tuples(
        st.sampled_from([None, 0, 1, 2]),
        st.sampled_from(["A", "MASTER_PORT", "NCCL_DEBUG", "HF_TOKEN", "config", "step", "phase"]),
        st.sampled_from(
            ["1", "22222", REDACTED, "/tmp/tmpaaaaaaaa", "/tmp/tmpbbbbbbbb", "vm:1234"]
        ),
    ),
    max_size=4,
)


def mutated(snapshot: Snapshot, changes: list[tuple[int | None, str, str]]) -> Snapshot:
    for rank, name, value in changes:
        if name == "config":
            snapshot = with_setting(snapshot, "optimizer.params.lr", value)
        elif name == "step":
            snapshot = changed(snapshot, 1.0, rank=rank, step=len(value), idle_s=5.0)
        elif name == "phase":
            snapshot = changed(snapshot, 0.0, rank=rank, phase="forward", versions={"torch": value})
        else:
            snapshot = with_env(snapshot, name, value, rank=rank)

    return snapshot


def swapped(differences: tuple[Difference, ...]) -> list[Difference]:
    turned = [msgspec.structs.replace(one, a=one.b, b=one.a) for one in differences]
    return sorted(turned, key=msgspec.json.encode)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([HUNG, HEALTHY]), st.sampled_from([HUNG, HEALTHY]), CHANGES, CHANGES)
def test_turned_around_it_says_the_same(
    first: Snapshot, second: Snapshot, mine: Any, theirs: Any
) -> None:
    a, b = side(mutated(first, mine), name="a"), side(mutated(second, theirs), name="b")
    there, back = compare(a, b), compare(b, a)
    assert swapped(there.differences) == sorted(back.differences, key=msgspec.json.encode)
    assert swapped(there.expected) == sorted(back.expected, key=msgspec.json.encode)
    assert there.compared == back.compared
    assert [kind for kind, *_ in told(there)] == [kind for kind, *_ in told(back)]
    assert (compare(a, a).differences, compare(b, b).expected) == ((), ())


def test_every_kind_and_reason_has_words() -> None:
    from dsray_inspect.agent.text import diff as words

    assert set(words._TITLES) == set(Kind.__args__)  # type: ignore[attr-defined]
    assert set(words._REASONS) == set(Because.__args__)  # type: ignore[attr-defined]


def test_the_document_fits_its_schema() -> None:
    schema = json.loads((ROOT / "docs" / "diff.schema.json").read_text())
    other = with_env(many_ranks(HEALTHY, 4), "FLAVOR", "b")
    document = compare(side(HUNG), side(other, is_public=True))
    Draft202012Validator(schema).validate(json.loads(msgspec.json.encode(document)))


def renamed(snapshot: Snapshot, name: str) -> Snapshot:
    """Return the snapshot with another pseudonym of load_batch."""

    def of(frame: Frame) -> Frame:
        return msgspec.structs.replace(frame, name=name) if frame.name == "load_batch" else frame

    groups = tuple(
        msgspec.structs.replace(group, frames=tuple(map(of, group.frames)))
        for group in snapshot.stacks.groups
    )
    stacks = msgspec.structs.replace(snapshot.stacks, groups=groups)
    return msgspec.structs.replace(snapshot, stacks=stacks)


def test_pseudonyms_of_two_files_are_no_difference_in_stacks() -> None:
    mine, theirs = renamed(HUNG, "function-1"), renamed(HUNG, "function-2")
    apart = compare(side(mine, pseudonyms="a"), side(theirs, pseudonyms="b"))
    assert apart.differences == ()
    assert told(diff(mine, theirs)) == [("frame", "first", (1,))]
