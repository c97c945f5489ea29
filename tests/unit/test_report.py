"""Reports: what all samples say together, as a page and for flame graph tools."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.model import Frame, Snapshot, Verdict
from dsray_inspect.agent.page.flame_tree import tree_of, visible_boxes
from dsray_inspect.agent.page.markup import Html, data, element, visible
from dsray_inspect.agent.page.page import page_of
from dsray_inspect.agent.page.wait_tree import drawing_of
from dsray_inspect.agent.report.document import Flame, FlameFrame, FlameStack, ReportDocument
from dsray_inspect.agent.report.flame import flame_of
from dsray_inspect.agent.report.intervals import intervals
from dsray_inspect.agent.report.tracks import tracks_of
from tests.unit import reports
from tests.unit.incidents import run
from tests.unit.reports import ATTACK, RAN, Page, rendered, write_file
from tests.unit.snapshots import at_step, recorded
from tests.unit.test_public_incident import Planter

HUNG = recorded("hung")


# The time of all ranks


def test_each_sample_stands_for_half_the_way_to_its_neighbors() -> None:
    assert intervals([10.0, 11.0, 15.0]) == [(10.0, 10.5), (10.5, 13.0), (13.0, 15.0)]
    assert intervals([10.0]) == [(10.0, 10.0)]
    assert intervals([10.0, 9.0, 12.0]) == [(10.0, 10.0), (10.0, 11.0), (11.0, 12.0)]


def test_the_flame_graph_is_as_wide_as_ranks_times_seconds(changing_file: Path) -> None:
    flame = reports.report(changing_file).flame
    assert flame.unit == "seconds"
    assert flame.total == pytest.approx(3 * 4.0)
    named: dict[tuple[str, ...], Any] = {
        tuple(flame.frames[number].name for number in stack.frames): (stack.weight, stack.ranks)
        for stack in flame.stacks
    }
    assert named == {
        ("teach", "all_reduce"): (pytest.approx(8.0), (0, 2)),
        ("teach", "_BaseDataLoaderIter.__next__"): (pytest.approx(2.0), (1,)),
        ("teach", "load_batch"): (pytest.approx(2.0), (1,)),
    }


def test_lines_of_one_function_are_one(changing_file: Path) -> None:
    groups = HUNG.stacks.groups
    later = tuple(
        msgspec.structs.replace(
            group, frames=tuple(msgspec.structs.replace(f, line=f.line + 1) for f in group.frames)
        )
        for group in groups
    )
    stacks = msgspec.structs.replace(HUNG.stacks, groups=later)
    moved = msgspec.structs.replace(HUNG, stacks=stacks, taken_at=HUNG.taken_at + 1)
    assert len(flame_of((HUNG, moved)).stacks) == len(flame_of((HUNG,)).stacks)


def test_one_sample_has_ranks_and_no_time() -> None:
    flame = flame_of((HUNG,))
    assert (flame.unit, flame.total) == ("ranks", 3)
    assert "Width is ranks: 3 ranks in one sample" in Page(page_of(reports.of_snapshots(HUNG))).text


def test_a_rank_without_a_stack_has_its_share() -> None:
    groups = tuple(group for group in HUNG.stacks.groups if 1 not in group.ranks)
    stacks = msgspec.structs.replace(HUNG.stacks, groups=groups)
    snapshot = msgspec.structs.replace(HUNG, stacks=stacks)
    flame = flame_of((snapshot,))
    assert flame.total == 3
    assert [stack.ranks for stack in flame.stacks if not stack.frames] == [(1,)]
    report = reports.of_snapshots(snapshot)
    assert "no stack could be read 1\n" in rendered(report, "folded")
    assert "no stack could be read: 1 rank" in Page(page_of(report)).text


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), max_size=5), st.floats(0.001, 9)),
        min_size=1,
        max_size=12,
    )
)
def test_boxes_lie_inside_those_they_are_below(stacks: list[tuple[list[int], float]]) -> None:
    frames = tuple(FlameFrame(name=name, file="f", layer="user") for name in "abc")
    flame = Flame(
        unit="seconds",
        frames=frames,
        stacks=tuple(
            FlameStack(frames=tuple(numbers), ranks=(0,), weight=weight)
            for numbers, weight in stacks
        ),
    )
    boxes = visible_boxes(tree_of(flame))
    root = boxes[0]
    assert root.weight == pytest.approx(flame.total)

    for box in boxes:
        inside = sum(below.weight for below in box.ordered()) + box.own_weight
        assert inside == pytest.approx(box.weight)
        assert box.x >= -1e-9
        assert box.x + box.weight / root.weight <= 1 + 1e-9


def test_a_deep_recursion_is_drawn_as_far_as_one_reads() -> None:
    frames = tuple(Frame(name="f", file="/a.py", line=n, layer="user") for n in range(3000))
    groups = tuple(msgspec.structs.replace(group, frames=frames) for group in HUNG.stacks.groups)
    stacks = msgspec.structs.replace(HUNG.stacks, groups=groups)
    page = page_of(reports.of_snapshots(msgspec.structs.replace(HUNG, stacks=stacks)))
    assert len(page) < 1_000_000


# Formats of others


def test_folded_has_one_line_per_stack_with_milliseconds(changing_file: Path) -> None:
    lines = rendered(reports.report(changing_file), "folded").splitlines()
    assert lines == [
        "teach (train.py);_BaseDataLoaderIter.__next__ (torch/utils/data/dataloader.py) 2000",
        "teach (train.py);all_reduce (torch/distributed/distributed_c10d.py) 8000",
        "teach (train.py);load_batch (train.py) 2000",
    ]


def test_names_cannot_make_lines_of_their_own(tmp_path: Path) -> None:
    frame = FlameFrame(name="a;b\nc 1", file="d\r.py", layer="user")
    stack = FlameStack(frames=(0,), ranks=(0,), weight=1.0)
    flame = Flame(unit="seconds", frames=(frame,), stacks=(stack,))
    report = msgspec.structs.replace(reports.of_snapshots(HUNG), flame=flame)
    assert rendered(report, "folded") == "a,b c 1 (d .py) 1000\n"


def test_speedscope_reads_what_its_format_demands(changing_file: Path) -> None:
    document = json.loads(rendered(reports.report(changing_file), "speedscope"))
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    (profile,) = document["profiles"]
    assert (profile["type"], profile["unit"], profile["startValue"]) == ("sampled", "seconds", 0)
    assert len(profile["samples"]) == len(profile["weights"])
    assert sum(profile["weights"]) == pytest.approx(profile["endValue"])
    frames = document["shared"]["frames"]
    assert all(0 <= number < len(frames) for sample in profile["samples"] for number in sample)
    assert frames[0] == {"name": "teach [user]", "file": "train.py"}


def test_json_has_the_explanation_of_why(changing_file: Path, capfdbinary: Any) -> None:
    assert run("report", str(changing_file), "--json") == ExitCode.OK
    report = json.loads(capfdbinary.readouterr().out)
    run("why", "--from", str(changing_file), "--json")
    assert report["explanation"] == json.loads(capfdbinary.readouterr().out)
    assert report["schema_version"] == 1
    assert len(report["moments"]) == report["samples"] == 4


# Ranks over time


def test_a_track_has_the_state_of_each_sample(changing_file: Path) -> None:
    report = reports.report(changing_file)
    assert [track.ranks for track in report.tracks] == [(0,), (1,), (2,)]
    assert [track.is_blamed for track in report.tracks] == [False, True, False]
    functions = [
        None if state is None else report.states[state].function
        for state in report.tracks[1].states
    ]
    assert functions == ["teach", "teach", "load_batch", "load_batch"]
    phases = [report.states[state].phase for state in report.tracks[1].states if state is not None]
    assert phases == ["data", "data", "user", "user"]


def test_equal_ranks_share_a_track_where_there_are_many() -> None:
    report = reports.of_snapshots(*(reports.hung_ranks(1000, 100.0 + n) for n in range(8)))
    assert [len(track.ranks) for track in report.tracks] == [125, 875]
    assert report.tracks[0].is_blamed
    assert len(report.tracks[0].hosts) == 125
    assert report.hidden_ranks == 0


def test_ranks_that_are_all_different_are_shown_as_far_as_a_page_goes() -> None:
    snapshots = tuple(_scattered(reports.hung_ranks(1000, 100.0 + n), n) for n in range(150))
    report = reports.of_snapshots(*snapshots)
    assert len(report.tracks) == 64
    assert report.hidden_ranks == 1000 - 64
    assert len(report.moments) == 120
    page = page_of(report)
    assert len(page) < 3_000_000
    assert "936 ranks in states of their own are not shown" in Page(page).text
    assert "120 of 150 samples are shown here" in Page(page).text


def _scattered(snapshot: Snapshot, number: int) -> Snapshot:
    phases = ("data", "forward", "backward", "optimizer_step")
    workers = tuple(
        msgspec.structs.replace(
            worker, phase=phases[((worker.rank or 0) >> 2 * (number // 30)) % 4], step=number
        )
        for worker in snapshot.workers
    )
    verdict = Verdict(state="healthy", cause=None, ranks=(), summary="All ranks advance.")
    return msgspec.structs.replace(snapshot, workers=workers, verdict=verdict)


def test_the_samples_at_which_the_verdict_changed_are_among_those_shown() -> None:
    fine = Verdict(state="healthy", cause=None, ranks=(), summary="All ranks advance.")
    snapshots = [
        msgspec.structs.replace(HUNG, taken_at=float(n), verdict=HUNG.verdict if n >= 777 else fine)
        for n in range(1000)
    ]
    times = [moment.at for moment in tracks_of(snapshots).moments]
    assert len(times) <= 120
    assert {0.0, 777.0, 999.0} <= set(times)


def test_who_is_replaced_is_gone_in_between() -> None:
    without = msgspec.structs.replace(HUNG, workers=HUNG.workers[:2])
    found = tracks_of([HUNG, without, at_step(HUNG, 2.0, 9)])
    assert found.tracks[2].states[1] is None
    assert found.tracks[2].steps[2] == 9


# The page


def test_three_ranks_take_little_room(changing_file: Path) -> None:
    assert len(page_of(reports.report(changing_file))) < 100_000
    assert len(page_of(reports.of_snapshots(HUNG, at_step(HUNG, 1.0, 20)))) < 100_000


def test_the_page_has_each_of_its_parts() -> None:
    page = Page(page_of(reports.of_snapshots(HUNG, at_step(HUNG, 1.0, 20))))
    assert "Rank 1 has been blocked in load_batch (train.py:81) for 1 min 51 s" in page.text
    assert "ranks 0, 2 in all_reduce #69" in page.text
    shown = {value for _, name, value in page.attributes if name == "id"}
    parts = "why timeline ranks flame-graph stacks waits differences start about"
    assert set(parts.split()) <= shown


@pytest.mark.parametrize("name", ["healthy", "pending", "stopped", "hung"])
def test_there_is_a_page_of_every_state(name: str) -> None:
    snapshot = recorded(name)
    page = Page(page_of(reports.of_snapshots(snapshot)))
    assert snapshot.verdict.summary in page.text
    assert_harmless(page)


def test_the_links_lead_to_sections_that_are_there(changing_file: Path) -> None:
    page = Page(page_of(reports.report(changing_file)))
    ids = {value for _, name, value in page.attributes if name == "id"}
    links = [value for _, name, value in page.attributes if name == "href"]
    assert links
    assert [link for link in links if link[0] != "#" or link[1:] not in ids] == []


def test_what_differs_is_told_with_its_ranks() -> None:
    odd = HUNG.workers[1]
    assert odd.deepspeed is not None
    config = {**odd.deepspeed.config, "gradient_clipping": "7.5"}
    engine = msgspec.structs.replace(odd.deepspeed, config=config)
    env = {**odd.env, "NCCL_DEBUG": next(iter(odd.env.values()))}
    changed = msgspec.structs.replace(odd, deepspeed=engine, env=env)
    workers = (HUNG.workers[0], changed, HUNG.workers[2])
    report = reports.of_snapshots(msgspec.structs.replace(HUNG, workers=workers))
    assert [difference.name for difference in report.config] == ["gradient_clipping"]
    assert [value.ranks for value in report.config[0].values] == [(0, 2), (1,)]
    assert "NCCL_DEBUG" in [difference.name for difference in report.env.drift]
    text = Page(page_of(report)).text
    assert "gradient_clipping Ranks 0, 2" in text
    assert "Rank 1 7.5" in text


def test_waits_in_a_circle_are_drawn() -> None:
    graph = HUNG.graph
    first = graph.edges[0]
    back = msgspec.structs.replace(first, waiter=first.awaited, awaited=first.waiter)
    circle = msgspec.structs.replace(graph, edges=(*graph.edges, back, back))
    snapshot = msgspec.structs.replace(HUNG, graph=circle)
    assert max(box.column for box in drawing_of(circle).boxes) < 12
    assert "Who waits for whom" in page_of(reports.of_snapshots(snapshot))


def test_ranks_that_wait_for_the_same_are_one_box() -> None:
    labels = [box.label for box in drawing_of(HUNG.graph).boxes]
    assert "ranks 0, 2" in labels
    assert len(labels) == len(set(labels))


# Hostile names


def assert_harmless(page: Page) -> None:
    """Check that a parser finds nothing in a page that could run or load, but our own."""
    assert page.tags["script"] == 2
    assert page.tags["style"] == 1
    assert not {"img", "iframe", "object", "embed", "base", "form", "link", "textarea"} & set(
        page.tags
    )
    names = {name for _, name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "style"}
    assert {value[0] for _, name, value in page.attributes if name == "href"} == {"#"}
    types = [value for tag, name, value in page.attributes if (tag, name) == ("script", "type")]
    assert types == ["application/json"]


@pytest.mark.parametrize("of_union", [0, 1])
def test_no_text_of_any_field_is_markup(of_union: int) -> None:
    """Each string of each record that a report is made of is an attack."""
    planted: ReportDocument = Planter(ATTACK.replace("{", "").replace("}", "")).planted(
        ReportDocument, of_union=of_union
    )
    state = planted.states[0]
    track = msgspec.structs.replace(
        planted.tracks[0], states=(0, None), steps=(1, None), idle_s=(1.0, None)
    )
    moments = (planted.moments[0], msgspec.structs.replace(planted.moments[0], at=2.0))
    stack = FlameStack(frames=(0,), ranks=(0,), weight=1.0)
    flame = msgspec.structs.replace(planted.flame, stacks=(stack,))
    report = msgspec.structs.replace(
        planted, states=(state,), tracks=(track,), moments=moments, flame=flame
    )
    html = rendered(report)
    page = Page(html)
    assert_harmless(page)
    assert page.text.count(RAN) > 30
    assert json.loads(page.raw[1])["states"][0][0] == visible(state.function)


def test_no_name_of_a_job_is_markup(tmp_path: Path) -> None:
    file = write_file(tmp_path / "x.dsray", reports.hostile(), log=ATTACK)
    page = Page(rendered(reports.report(file)))
    assert_harmless(page)
    assert page.text.count(RAN) > 10


def test_text_is_escaped_and_what_is_not_seen_is_marked() -> None:
    assert element("b", "<i>", title='"&') == '<b title="&quot;&amp;">&lt;i&gt;</b>'
    assert element("b", Html("<i></i>")) == "<b><i></i></b>"
    assert element("b", "a\u202eb\x00\x1b[2J") == "<b>a\ufffdb\ufffd\ufffd[2J</b>"
    assert element("input", disabled=True, value=None) == "<input disabled/>"
    assert element("b", "\ud800") == "<b>\ufffd</b>"


@given(st.text())
def test_data_holds_no_tag(text: str) -> None:
    found = data([text])
    assert "<" not in found
    assert json.loads(found) == [text]


def test_the_policy_lets_only_our_own_script_and_style_run(changing_file: Path) -> None:
    page = Page(page_of(reports.report(changing_file)))
    policy = next(value for _, name, value in page.attributes if value.startswith("default-src"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_page_names_no_place_outside(changing_file: Path) -> None:
    html = page_of(reports.report(changing_file))
    assert re.findall(r"https?://|//[a-z]+\.|url\(|@import|fetch\(|XMLHttp|innerHTML", html) == []
