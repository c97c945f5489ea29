"""What people read: snapshots of real jobs as text, compared with golden files.

    UPDATE_GOLDEN=1 .venv/bin/pytest tests/unit/test_text.py && make docs

rewrites the golden files, and the pages that show them. Read the diff before you commit it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.commands._support.options import Options
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.model import LAYERS, EnvVar, Frame, Function, Local, Snapshot
from dsray_inspect.agent.text.env import env_text
from dsray_inspect.agent.text.humanize import compact, name_ranks
from dsray_inspect.agent.text.report import ranks, report
from dsray_inspect.agent.text.stacks import stacks_text
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.table import table
from dsray_inspect.agent.text.truncate import (
    READABLE,
    WIDEST,
    cut_end,
    cut_middle,
    cut_path,
    cut_qualname,
    keep_apart,
    without_domain,
    wrap,
)
from dsray_inspect.agent.text.why import why_text

ROOT = Path(__file__).parents[2]
SNAPSHOTS = {path.stem: path for path in (ROOT / "tests" / "golden" / "snapshots").glob("*.json")}
TEXT = ROOT / "tests" / "golden" / "text"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
ESCAPE = re.compile(r"\033\[[\d;]*m")

Face = Callable[[Snapshot, Style], str]
FACES: dict[str, Face] = {
    "attach": report,
    "stacks": stacks_text,
    "stacks-full": lambda snapshot, style: stacks_text(snapshot, style, full=True),
    "env": env_text,
    "why": lambda snapshot, style: why_text(explain(twice(snapshot)), style),
    "env-all": lambda snapshot, style: env_text(snapshot, style, show_all=True),
}
WHOLE = ("stacks-full", "env-all")
# Of the long forms one is enough.
GOLDEN = [
    f"{name}-{face}"
    for name in sorted(SNAPSHOTS)
    for face in FACES
    if face not in WHOLE or name == "hung"
]


def twice(snapshot: Snapshot) -> tuple[Snapshot, Snapshot]:
    """Return the snapshot with one before it that says the same."""
    before = msgspec.structs.replace(snapshot, taken_at=snapshot.taken_at - 0.9)
    return before, snapshot


def load(name: str) -> Snapshot:
    return msgspec.json.decode(SNAPSHOTS[name].read_bytes(), type=Snapshot)


def rendered(golden: str, style: Style = PLAIN) -> str:
    name, _, face = golden.partition("-")
    return FACES[face](load(name), style)


@pytest.mark.parametrize("golden", GOLDEN)
def test_text(golden: str) -> None:
    path = TEXT / f"{golden}.txt"
    text = rendered(golden) + "\n"

    if UPDATE:
        path.write_text(text)

    assert text == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in TEXT.glob("*.txt")} == set(GOLDEN)


@pytest.mark.parametrize("golden", GOLDEN)
def test_colour_adds_nothing_but_colour(golden: str) -> None:
    painted = rendered(golden, Style(color=True))
    assert "\033[" in painted
    assert ESCAPE.sub("", painted) == rendered(golden)
    assert "\033[" not in rendered(golden)


def test_what_is_red_is_marked_too() -> None:
    painted = report(load("hung"), Style(color=True)).split("\n")
    red = [line for line in painted if line.startswith("\033[31m")]
    assert len(red) == 1
    assert "✗" in red[0]
    assert painted[0].startswith("\033[1;31mHUNG\033[0m: Rank 1")


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_the_first_word_is_the_verdict(name: str) -> None:
    snapshot = load(name)
    first = report(snapshot).split("\n")[0]
    assert first == f"{snapshot.verdict.state.upper()}: {snapshot.verdict.summary}"


@pytest.mark.parametrize("golden", GOLDEN)
def test_no_line_ends_in_blanks(golden: str) -> None:
    assert [line for line in rendered(golden).split("\n") if line != line.rstrip()] == []


def with_workers(snapshot: Snapshot, **changes: Any) -> Snapshot:
    """Return the snapshot with each worker changed; a function is called with its number."""
    workers = [
        msgspec.structs.replace(
            worker,
            **{name: new(number) if callable(new) else new for name, new in changes.items()},
        )
        for number, worker in enumerate(snapshot.workers)
    ]
    return msgspec.structs.replace(snapshot, workers=tuple(workers))


def test_the_table_fits_a_terminal_with_ordinary_names() -> None:
    busy = with_workers(
        load("hung"),
        rank=lambda number: 1000 + number,
        hostname="gke-train-a100-pool-7f3c91d2-x4kq",
        pid=4_194_303,
        step=1_250_000,
        idle_s=7_500.0,
        phase="init_process_group",
        function=Function(name="compute_loss_and_metrics", file="/app/train_gpt.py", line=1042),
    )
    lines = ranks(busy, PLAIN).split("\n")
    assert max(map(len, lines)) <= WIDEST
    assert len({line.index("compute_loss") for line in lines[1:]}) == 1
    assert all("-x4kq" in line and ":1042" in line for line in lines[1:])


def test_hosts_that_differ_in_their_middle_stay_apart() -> None:
    hosts = [f"pool-{letter}-" + "x" * 50 for letter in "abc"]
    text = ranks(with_workers(load("hung"), hostname=lambda number: hosts[number]), PLAIN)
    head, *lines = text.split("\n")
    names = [line[head.index("node") : head.index("GPU")] for line in lines]
    assert len(set(names)) == 3


@pytest.mark.parametrize("golden", [golden for golden in GOLDEN if "stacks" in golden])
def test_a_tree_has_columns_and_fits_a_terminal(golden: str) -> None:
    frames = [
        (line, found)
        for line in rendered(golden).split("\n")
        if (found := re.search(rf"  ({'|'.join(LAYERS)})(?: ←.*)?$", line))
    ]
    assert len(frames) > 8
    assert {found.start(1) for _, found in frames} == {frames[0][1].start(1)}
    assert max(len(line) for line, _ in frames) <= WIDEST


def test_ranks_of_several_hosts_are_told_apart_in_the_tree() -> None:
    text = stacks_text(
        with_workers(load("hung"), hostname=lambda n: f"host-{'aba'[n]}.example.com")
    )
    assert "ranks 0-2  host-a: 0, 2 · host-b: 1  TrainingThread" in text


def test_a_long_local_is_cut_where_it_shows() -> None:
    hung = load("hung")
    local = Local(name="options", value="x" * 500)
    groups = tuple(
        msgspec.structs.replace(
            group, frames=tuple(with_local(frame, local) for frame in group.frames)
        )
        for group in hung.stacks.groups
    )
    stacks = msgspec.structs.replace(hung.stacks, groups=groups)
    lines = stacks_text(msgspec.structs.replace(hung, stacks=stacks)).split("\n")
    shown = [line for line in lines if "options = " in line]
    assert shown
    assert {len(line) for line in shown} == {WIDEST}
    assert all(line.endswith("…") for line in shown)


def with_local(frame: Frame, local: Local) -> Frame:
    return msgspec.structs.replace(frame, locals=(local,))


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_the_environment_is_wrapped(name: str) -> None:
    assert max(map(len, env_text(load(name)).split("\n"))) <= READABLE


def test_a_value_that_differs_is_shown_whole() -> None:
    hung = load("hung")
    paths = [f"/data/{number}/" + "x" * 200 for number in range(3)]
    changed = with_workers(
        hung, env=lambda number: {"MODEL": EnvVar(value=paths[number], source="user_code")}
    )
    text = env_text(changed)
    assert [f"rank {number}: {path}  (user_code)" in text for number, path in enumerate(paths)] == [
        True
    ] * 3


def test_all_means_the_whole_value() -> None:
    value = "/opt/lib:" * 300
    changed = with_workers(load("hung"), env={"A_PATH": EnvVar(value=value, source="inherited")})
    assert f"A_PATH={value}\n" in env_text(changed, show_all=True) + "\n"


def test_one_rank_has_nothing_to_differ_from() -> None:
    hung = load("hung")
    text = env_text(msgspec.structs.replace(hung, workers=hung.workers[:1]))
    assert text.startswith("Only one rank was seen: nothing to compare.\n\nby who set it\n")
    assert "differs" not in text


# `why` shows the verdict of the snapshot, and says no more of a job that has ended.
@pytest.mark.parametrize("face", [name for name in FACES if name != "why"])
def test_of_an_ended_job_is_said_that_it_has_ended(face: str) -> None:
    hung = load("hung")
    ended = with_workers(hung, state="dead", phase="unknown", function=None, env={})
    job = msgspec.structs.replace(hung.job, state="FINISHED")
    stacks = msgspec.structs.replace(hung.stacks, groups=())
    text = FACES[face](msgspec.structs.replace(ended, job=job, stacks=stacks), PLAIN)
    assert "ended" in text
    assert "not seen" not in text
    assert "no stack" not in text


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (cut_end("compute_loss", 8), "compute…"),
        (cut_middle("gke-pool-7f3c-x4kq", 12), "gke…f3c-x4kq"),
        (cut_path("zero/stage_1_and_2.py:1212", 30), "zero/stage_1_and_2.py:1212"),
        (cut_path("zero/stage_1_and_2.py:1212", 22), "stage_1_and_2.py:1212"),
        (cut_path("zero/stage_1_and_2.py:1212", 12), "…d_2.py:1212"),
        (cut_qualname("Engine.backward", 15), "Engine.backward"),
        (cut_qualname("DeepSpeedEngine.backward", 15), "DeepS….backward"),
        (cut_qualname("DeepSpeedEngine.backward", 10), "backward"),
        (cut_qualname("Engine.a_very_long_method", 10), "a_v…method"),
        (compact([0, 1, 2, 3, 7]), "0-3, 7"),
        (compact([]), ""),
        (name_ranks([1]), "rank 1"),
        (name_ranks([2, 0]), "ranks 0, 2"),
        (name_ranks([None]), "a worker"),
        (name_ranks([None, 1]), "2 workers"),
    ],
)
def test_short_forms(shown: str, wanted: str) -> None:
    assert shown == wanted


def test_a_domain_is_dropped_where_hosts_stay_apart() -> None:
    assert without_domain(["a.east.net", "b.east.net"]) == {"a.east.net": "a", "b.east.net": "b"}
    assert without_domain(["a.east.net", "a.west.net"])["a.east.net"] == "a.east.net"
    assert without_domain(["10.0.0.1"]) == {"10.0.0.1": "10.0.0.1"}


def test_wrapping_goes_on_below_the_first_word() -> None:
    assert wrap("who  ", ["aaa", "bbb", "ccc"], " · ", width=14) == ["who  aaa · bbb ·", "     ccc"]


@given(
    st.lists(st.text("abc-", min_size=1, max_size=30), min_size=1, unique=True), st.integers(10, 40)
)
def test_names_that_differ_are_cut_to_names_that_differ(names: list[str], width: int) -> None:
    cut = keep_apart(names, cut_middle)
    assert len({cut(name, width) for name in names}) == len(names)


@given(st.lists(st.tuples(*[st.text("ab", max_size=60)] * 3), min_size=1), st.integers(34, 90))
def test_a_table_that_may_cut_fits(rows: list[tuple[str, str, str]], widest: int) -> None:
    text = table(("", "", ""), rows, cuts=dict.fromkeys(range(3), cut_end), widest=widest)
    assert max(map(len, text.split("\n"))) <= widest


@pytest.mark.parametrize(
    ("options", "variables", "is_terminal", "colour"),
    [
        ({}, {}, True, True),
        ({}, {}, False, False),
        ({"no_color": True}, {}, True, False),
        ({}, {"NO_COLOR": "1"}, True, False),
        ({}, {"NO_COLOR": ""}, True, True),
        ({}, {"TERM": "dumb"}, True, False),
    ],
)
def test_when_there_is_colour(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, bool],
    variables: dict[str, str],
    is_terminal: bool,
    colour: bool,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    assert Options(no_color=options.get("no_color", False)).color is colour
