"""Trace files are what Perfetto reads: well-formed, in order, slices that nest, arrows that land."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.exporters import semconv, trace_json
from dsray_inspect.exporters.track_layout import assign_lanes
from tests.unit import timelines

Event = dict[str, Any]
NEEDS = {
    "M": {"name", "pid", "tid", "ts", "args"},
    "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
    "B": {"name", "cat", "pid", "tid", "ts", "args"},
    "s": {"name", "cat", "pid", "tid", "ts", "id"},
    "t": {"name", "cat", "pid", "tid", "ts", "id"},
    "f": {"name", "cat", "pid", "tid", "ts", "id", "bp"},
}


def read(timeline: Timeline) -> list[Event]:
    """Return the events of the file, after a strict check of the form."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    loaded = json.loads(trace_json.encode(timeline), parse_constant=refuse)
    assert loaded["displayTimeUnit"] == "ms"
    events: list[Event] = loaded["traceEvents"]
    check_fields(events)
    check_order(events)
    check_names(events)
    check_nesting(events)
    check_flows(events)
    return events


def check_fields(events: list[Event]) -> None:
    for event in events:
        assert set(event) == NEEDS[event["ph"]] | {"ph"}, event
        assert (type(event["pid"]), type(event["tid"])) == (int, int)
        assert min(event["ts"], event.get("dur", 0)) >= 0


def check_order(events: list[Event]) -> None:
    kinds = [event["ph"] == "M" for event in events]
    assert kinds == sorted(kinds, reverse=True), "names come first"
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)


def check_names(events: list[Event]) -> None:
    named = {
        (event["name"], event["pid"], event["tid"] * (event["name"] == "thread_name"))
        for event in events
        if event["ph"] == "M"
    }
    for event in events:
        if event["ph"] != "M":
            assert ("process_name", event["pid"], 0) in named
            assert ("thread_name", event["pid"], event["tid"]) in named


def slices_by_thread(events: list[Event]) -> dict[tuple[int, int], list[tuple[float, float]]]:
    found = defaultdict(list)
    for event in events:
        if event["ph"] in "XB":
            end = event["ts"] + event["dur"] if event["ph"] == "X" else float("inf")
            found[event["pid"], event["tid"]].append((event["ts"], end))
    return found


def check_nesting(events: list[Event]) -> None:
    for extents in slices_by_thread(events).values():
        open_ends: list[float] = []
        for start, end in extents:
            while open_ends and open_ends[-1] <= start + 1e-3:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1] + 1e-3, "slices of one thread cross"
            open_ends.append(end)


def check_flows(events: list[Event]) -> None:
    flows = defaultdict(list)
    slices = slices_by_thread(events)
    for event in events:
        if event["ph"] in "stf":
            flows[event["id"]].append(event)
            inside = slices[event["pid"], event["tid"]]
            assert any(start <= event["ts"] <= end for start, end in inside)
    for arrow in flows.values():
        assert [event["ph"] for event in arrow] == ["s", *"t" * (len(arrow) - 2), "f"]
        assert len({event["pid"] for event in arrow}) == len(arrow)


def metadata(events: list[Event], name: str) -> dict[int, Any]:
    (key,) = {"process_name": ("name",), "process_sort_index": ("sort_index",)}[name]
    return {event["pid"]: event["args"][key] for event in events if event["name"] == name}


def test_each_rank_is_a_process_named_by_rank_host_and_gpu() -> None:
    names = metadata(read(timelines.two_ranks()), "process_name")
    assert names == {
        1: "driver · host-a",
        2: "rank 0 · host-a · GPU-11111111-aaaa",
        3: "rank 1 · host-b · GPU 1",
    }


def test_tracks_stand_in_the_order_of_how_much_they_tell() -> None:
    threads: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for event in read(timelines.two_ranks()):
        if event["name"] == "thread_name":
            threads[event["pid"]].append((event["tid"], event["args"]["name"]))
    assert [name for _, name in sorted(threads[1])] == ["start-up"]
    assert [name for _, name in sorted(threads[2])] == [
        "steps",
        "phases",
        "collectives",
        "collectives 2",
    ]


def test_every_span_is_there_with_its_time_to_the_nanosecond() -> None:
    timeline = timelines.two_ranks()
    events = read(timeline)
    found = sorted(
        (round(event["ts"] * 1000), event["name"], round(event.get("dur", -0.001) * 1000))
        for event in events
        if event["ph"] in "XB"
    )
    assert found == sorted(
        (
            span.start_ns - timelines.BEGIN_NS,
            span.name,
            -1 if span.end_ns is None else span.end_ns - span.start_ns,
        )
        for span in timeline.spans
    )


def test_open_spans_begin_and_do_not_end() -> None:
    open_ones = [event for event in read(timelines.two_ranks()) if event["ph"] == "B"]
    assert {(event["name"], event["pid"]) for event in open_ones} == {
        ("train.step", 2),
        ("backward", 2),
        ("all_reduce", 2),
        ("train.step", 3),
        ("data", 3),
    }
    assert all(event["args"][semconv.SPAN_OPEN] is True for event in open_ones)
    assert all(event["args"][semconv.STEP_GLOBAL] == 2 for event in open_ones)


def test_arrows_go_from_who_comes_first_to_who_comes_last() -> None:
    events = read(timelines.two_ranks())
    arrows = defaultdict(list)
    for event in events:
        if event["ph"] in "stf":
            arrows[event["id"]].append(event["pid"])
    # Four collectives have both ranks; the fifth has only the one that waits.
    assert sorted(arrows.values()) == [[2, 3], [2, 3], [2, 3], [2, 3]]


def test_a_restarted_rank_is_not_joined_with_its_predecessor() -> None:
    before = timelines.two_ranks()
    again = msgspec.structs.replace(before.processes[timelines.RANK_1], pid=990)
    later = [timelines.collective(timelines.RANK_1_AGAIN, 0, (9_000, 9_001), 0)]
    restarted = msgspec.structs.replace(
        before, processes=(*before.processes, again), spans=(*before.spans, *later)
    )
    flowing = [event["pid"] for event in read(restarted) if event["ph"] in "stf"]
    assert 4 not in flowing


def test_other_groups_with_the_same_number_are_other_collectives() -> None:
    timeline = timelines.two_ranks()
    spans = (
        timelines.collective(timelines.RANK_0, 7, (1, 2), 0, group="2"),
        timelines.collective(timelines.RANK_1, 7, (1, 2), 0, group="3"),
    )
    events = read(msgspec.structs.replace(timeline, spans=spans))
    assert not [event for event in events if event["ph"] in "stf"]


def test_an_empty_timeline_is_a_file_too() -> None:
    events = read(msgspec.structs.replace(timelines.two_ranks(), spans=()))
    assert {event["ph"] for event in events} == {"M"}


def test_what_is_missing_is_said_in_the_file() -> None:
    other = trace_json.document(timelines.two_ranks())["otherData"]
    assert other["dropped_records"] == "3"
    assert other["notes"] == "collectives older than 2,000 are gone"
    assert int(other["origin_unix_ns"]) == timelines.BEGIN_NS


@pytest.mark.parametrize(
    ("extents", "expected"),
    [
        ([(0, 10), (10, 20)], [0, 0]),
        ([(0, 10), (2, 5), (5, 9)], [0, 0, 0]),
        ([(0, 10), (5, 15), (11, 12)], [0, 1, 0]),
        ([(0, 10), (5, 15), (6, 20)], [0, 1, 2]),
        ([(0, 10), (0, 0), (0, 10)], [0, 0, 0]),
    ],
)
def test_lanes(extents: list[tuple[int, int]], expected: list[int]) -> None:
    assert assign_lanes(extents) == expected
