"""The wrappers: what they record, and that they leave everything as it was."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.leases import clear
from dsray_inspect.agent.probes.probe import HOME, Probe, installed
from dsray_inspect.agent.probes.ring import Reader, Ring, records
from dsray_inspect.agent.probes.targets import Target

HERE = __name__
FAR_NS = 1 << 62


class Engine:
    """Counts steps as DeepSpeed's engine does."""

    def __init__(self) -> None:
        self.global_steps = 7
        self.micro_steps = 15
        self.seen: list[Any] = []

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Forward, says its docstring."""
        self.seen.append((args, kwargs))
        return "loss"

    def step(self) -> None:
        self.global_steps += 1
        self.micro_steps += 1

    def fail(self) -> None:
        raise LookupError("a bad batch")

    def recurse(self, depth: int) -> int:
        return 0 if depth == 0 else 1 + self.recurse(depth - 1)


class UserEngine(Engine):
    """A user's subclass, with a `forward` of its own that calls the engine's."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs)


class Slotted:
    __slots__ = ("value",)

    def forward(self) -> str:
        return "loss"


class NoChange(type):
    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError("this class is frozen")


class Frozen(metaclass=NoChange):
    def forward(self) -> str:
        return "loss"


def target(owner: str, name: str, code: int = wire.FORWARD, **more: Any) -> Target:
    return Target(HERE, owner, name, code, of_engine=True, subclasses=True, **more)


TARGETS = (
    target("Engine", "forward"),
    target("Engine", "step", wire.STEP, advances=True),
    target("Engine", "fail", wire.SAVE_CHECKPOINT),
    target("Engine", "recurse", wire.BACKWARD),
    target("Slotted", "forward"),
)


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[Probe]:
    before = {owner: dict(vars(owner)) for owner in (Engine, UserEngine, Slotted)}
    made = Probe(Ring(256, str(tmp_path)))
    made.hold(1, 3600)
    made.put_in(TARGETS)
    yield made
    made.take_out()
    assert HOME not in sys.modules

    for owner, attributes in before.items():
        assert dict(vars(owner)) == attributes
        assert all(vars(owner)[name] is value for name, value in attributes.items())


@pytest.fixture
def reader(probe: Probe) -> Iterator[Reader]:
    opened = Reader(probe.ring.path)
    yield opened
    opened.close()


def codes(reader: Reader) -> list[tuple[int, int]]:
    """Return code and flags of the new records."""
    return [(row[3] & wire.CODE_MASK, row[3] & ~wire.CODE_MASK) for row in records(reader.read())]


def test_a_call_is_what_it_was_and_leaves_a_record(reader: Reader) -> None:
    engine = Engine()
    before = time.monotonic_ns()
    assert engine.forward(1, key=2) == "loss"
    assert engine.seen == [((1,), {"key": 2})]
    (row,) = records(reader.read())
    number, start, end, code, step, micro, thread = row
    assert (number, code) == (1, wire.FORWARD)
    assert before <= start <= end <= time.monotonic_ns()
    assert (step, micro, thread) == (7, 15, threading.get_ident())
    assert Engine.forward.__doc__ == "Forward, says its docstring."
    assert Engine.forward.__name__ == "forward"


def test_the_call_that_makes_the_step_count_higher_is_marked(reader: Reader) -> None:
    engine = Engine()
    engine.step()
    engine.forward()
    rows = records(reader.read())
    assert [(row[3], row[4]) for row in rows] == [
        (wire.STEP | wire.ADVANCED, 7),
        (wire.FORWARD, 8),
    ]


def test_an_exception_passes_and_is_marked(reader: Reader) -> None:
    with pytest.raises(LookupError, match="a bad batch"):
        Engine().fail()

    assert codes(reader) == [(wire.SAVE_CHECKPOINT, wire.FAILED)]
    assert reader.open_spans() == []


def test_a_subclass_of_the_user_is_seen_in_both(reader: Reader) -> None:
    UserEngine().forward()
    outer, inner = records(reader.read())
    assert outer[1] <= inner[1]
    assert inner[2] <= outer[2]


def test_what_another_record_covers_is_not_recorded(tmp_path: Path) -> None:
    probe = Probe(Ring(64, str(tmp_path)))
    probe.hold(1, 3600)
    probe.put_in((target("Engine", "forward", part_of="in_backward"),))
    reader, engine = Reader(probe.ring.path), Engine()
    engine.forward()
    engine.in_backward = True  # type: ignore[attr-defined]
    assert engine.forward() == "loss"
    engine.in_backward = False  # type: ignore[attr-defined]
    engine.forward()
    assert codes(reader) == [(wire.FORWARD, 0)] * 2
    assert len(engine.seen) == 3
    reader.close()
    probe.take_out()


def test_an_inherited_function_is_probed_in_one_subclass_alone(tmp_path: Path) -> None:
    probe = Probe(Ring(64, str(tmp_path)))
    probe.hold(1, 3600)
    probe.put_in((target("UserEngine", "step", wire.STEP, advances=True, inherited=True),))
    reader = Reader(probe.ring.path)
    Engine().step()
    assert codes(reader) == []
    UserEngine().step()
    assert codes(reader) == [(wire.STEP, wire.ADVANCED)]
    assert probe.take_out() == []
    assert "step" not in vars(UserEngine)
    UserEngine().step()
    reader.close()


def test_what_is_not_finished_is_open(probe: Probe, reader: Reader) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Waits(Engine):
        def step(self) -> None:
            inside.set()
            assert go_on.wait(30)

    waits = Waits()
    probe.take_out()
    again = Probe(Ring(256, str(Path(probe.ring.path).parent)))
    again.hold(1, 3600)
    again.put_in(TARGETS)
    own = Reader(again.ring.path)
    thread = threading.Thread(target=waits.step)
    thread.start()
    assert inside.wait(30)
    assert [code for _, code in own.open_spans()] == [wire.STEP]
    go_on.set()
    thread.join()
    assert own.open_spans() == []
    own.close()
    again.take_out()


def test_a_span_whose_place_is_taken_meanwhile_is_recorded_all_the_same(
    probe: Probe, reader: Reader
) -> None:
    depth = probe.ring.capacity + 40
    began = time.monotonic_ns()
    assert Engine().recurse(depth) == depth
    rows = records(reader.read())
    outer = max(rows, key=lambda row: row[2] - row[1])
    assert outer == rows[-1] == max(rows, key=lambda row: row[2])
    displaced = depth + 1 - probe.ring.capacity
    assert outer[0] == depth + 1 + displaced
    assert began < outer[1] < outer[2] < time.monotonic_ns()
    assert outer[3:6] == (wire.BACKWARD | wire.MOVED, 7, 15)
    assert reader.open_spans() == []


def test_instances_with_slots_are_probed_and_count_no_steps(reader: Reader) -> None:
    assert Slotted().forward() == "loss"
    (row,) = records(reader.read())
    assert row[4:6] == (wire.UNCOUNTED, 0)


def test_what_cannot_be_probed_is_said_to_be(tmp_path: Path) -> None:
    probe = Probe(Ring(64, str(tmp_path)))
    probe.hold(1, 3600)
    probe.put_in((target("Frozen", "forward"), target("Engine", "gone"), target("Gone", "x")))
    assert probe.missing == [
        "Frozen.forward: TypeError: this class is frozen",
        "Engine.gone does not exist in this process",
        "Gone.x does not exist in this process",
    ]
    assert Frozen().forward() == "loss"
    assert probe.take_out() == []


def test_a_patch_of_the_user_on_top_of_ours_stays(probe: Probe) -> None:
    ours = Engine.forward

    def theirs(self: Any, *args: Any) -> Any:
        return "patched " + ours(self, *args)

    original = next(patch.original for patch in probe.patches if patch.name == "forward")
    Engine.forward = theirs  # type: ignore[method-assign]
    assert probe.take_out() == ["Engine.forward"]
    assert Engine.forward is theirs
    assert Engine().forward() == "patched loss"
    # The user takes his own away, and finds what he had put it on: ours, which then goes.
    Engine.forward = ours  # type: ignore[method-assign]
    assert Engine().forward() == "loss"
    assert vars(Engine)["forward"] is original


def test_a_patch_of_the_user_under_ours_is_what_comes_back(
    tmp_path: Path, monkeypatch: Any
) -> None:
    original = Engine.step

    def theirs(self: Any) -> None:
        original(self)

    monkeypatch.setattr(Engine, "step", theirs)
    probe = Probe(Ring(64, str(tmp_path)))
    probe.hold(1, 3600)
    probe.put_in(TARGETS)
    Engine().step()
    probe.take_out()
    assert vars(Engine)["step"] is theirs


def test_a_call_that_outlasts_the_probe_ends_well(probe: Probe, tmp_path: Path) -> None:
    class Takes(Engine):
        def fail(self) -> None:
            super().step()
            probe.take_out()
            super().step()

    engine = Takes()
    Engine.step(engine)
    engine.fail()
    assert engine.global_steps == 10
    assert not Path(probe.ring.path).exists()


def test_a_probe_without_a_lease_leaves_with_the_next_call(probe: Probe, reader: Reader) -> None:
    clear(reader.header, 1)
    engine = Engine()
    engine.forward()
    assert probe.switch.off
    assert installed() is None
    assert not Path(probe.ring.path).exists()
    assert len(records(reader.read())) == 1
    engine.forward()
    assert len(engine.seen) == 2


def test_a_forked_child_writes_nothing(probe: Probe, reader: Reader) -> None:
    """As the workers of a DataLoader are, which inherit classes, ring and all."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def child() -> None:
        engine = Engine()
        loss = engine.forward()
        engine.step()
        answers.put((loss, engine.global_steps))
        os._exit(0)

    Engine().forward()
    process = context.Process(target=child)
    process.start()
    assert answers.get() == ("loss", 8)
    process.join()
    Engine().forward()
    assert codes(reader) == [(wire.FORWARD, 0)] * 2
    assert not probe.switch.off


def test_threads_are_told_apart(reader: Reader) -> None:
    threads = [threading.Thread(target=Engine().forward) for _ in range(8)]

    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join()

    assert len(records(reader.read())) == 8


def test_sizes_are_measured_from_the_result(tmp_path: Path) -> None:
    probe = Probe(Ring(64, str(tmp_path)))
    probe.hold(1, 3600)
    sized = Target(HERE, "Slotted", "forward", wire.SERIALIZE, measure=lambda _, got: len(got))
    broken = Target(HERE, "Engine", "forward", wire.SERIALIZE, measure=lambda _, got: got.oops)
    probe.put_in((sized, broken))
    reader = Reader(probe.ring.path)
    Slotted().forward()
    assert Engine().forward() == "loss"
    assert [row[5] for row in records(reader.read())] == [4]
    probe.take_out()
    reader.close()
