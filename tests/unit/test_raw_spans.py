"""From what real engines wrote into their rings to steps that add up."""

from __future__ import annotations

import base64

import pytest

from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.ring import records
from dsray_inspect.agent.tracing import names
from dsray_inspect.agent.tracing.raw_spans import Clock, raw_spans, training_thread
from dsray_inspect.agent.tracing.steps import StepIndex, find_steps, outermost
from dsray_inspect.exporters import semconv
from tests.unit.engines import RECORDED, recorded


@pytest.mark.parametrize("name", RECORDED)
def test_every_engine_has_whole_steps_that_add_up(name: str) -> None:
    found, thread = recorded(name)
    known = find_steps(found)
    assert [step.number for step in known] == [3, 4, 5]
    assert [step.end_ns is None for step in known] == [False, False, True]
    by_time = StepIndex(known)
    top = outermost(found, thread)

    for step in known[:2]:
        inside = [span for span in top if by_time.at(span.start_ns) == step]
        total = sum((span.end_ns or 0) - span.start_ns for span in inside)
        assert step.end_ns is not None
        assert total == pytest.approx(step.end_ns - step.start_ns, rel=0.05)


@pytest.mark.parametrize("name", RECORDED)
def test_the_job_was_left_as_it_was(name: str) -> None:
    row = RECORDED[name]
    assert row["restored"]
    assert row["gone"] == {"gone": True, "covered": []}
    assert row["new_graphs"] == 0
    reference = "pipeline" if name == "pipeline" else "engine"
    assert row["losses"] == pytest.approx(RECORDED[reference]["losses"])


@pytest.mark.parametrize("name", ["engine", "direct", "subclass", "compiled"])
def test_a_step_is_forward_backward_and_step(name: str) -> None:
    found, thread = recorded(name)
    calls = [span.name for span in outermost(found, thread) if span.name not in ("data", "user")]
    assert calls == [names.FORWARD, names.BACKWARD, names.OPTIMIZER_STEP] * 3
    assert sum(span.name == names.GRAD_REDUCE for span in found) == 3
    backward = next(span for span in found if span.name == names.BACKWARD)
    reduction = next(span for span in found if span.name == names.GRAD_REDUCE)
    assert backward.contains(reduction)


def test_accumulation_has_micro_steps() -> None:
    found, _ = recorded("accumulate")
    forwards = [span for span in found if span.name == names.FORWARD]
    assert [span.global_step for span in forwards] == [2, 2, 3, 3, 4, 4]
    assert [span.micro_step for span in forwards] == [4, 5, 6, 7, 8, 9]


def test_a_failed_forward_is_marked() -> None:
    found, _ = recorded("failing")
    assert [span.failed for span in found if span.name == names.FORWARD] == [True, False] * 3


def test_zero_3_gathers_and_partitions() -> None:
    found, _ = recorded("zero3")
    assert {names.ZERO_GATHER, names.ZERO_PARTITION, names.GRAD_REDUCE} <= {
        span.name for span in found
    }


def test_a_pipeline_engine_has_its_steps_in_train_batch() -> None:
    found, thread = recorded("pipeline")
    calls = [span.name for span in outermost(found, thread) if span.name not in ("data", "user")]
    assert calls == [names.TRAIN_BATCH] * 3
    assert {span.micro_step for span in found if span.name == names.FORWARD} == {-1}


def test_what_was_not_finished_is_open() -> None:
    row = RECORDED["direct"]
    rows = records(base64.b64decode(row["records"]))
    clock = Clock(*row["clock"])
    last = max(i for i, row in enumerate(rows) if row[3] == wire.BACKWARD_PROLOGUE)
    found = raw_spans(rows[: last + 1], [], clock)
    assert found[-1].name == names.BACKWARD
    assert found[-1].end_ns is None
    in_forward = raw_spans(rows[:-1], [(rows[-1][2] + 5, wire.FORWARD)], clock)
    assert (in_forward[-1].name, in_forward[-1].end_ns) == (names.FORWARD, None)


def test_bytes_come_from_what_was_serialized_inside() -> None:
    def row(n: int, start: int, end: int, code: int, size: int = 0) -> tuple[int, ...]:
        return n, start, end, code, 0, size, 77

    rows = [
        row(1, 10, 20, wire.SERIALIZE, 800),
        row(2, 5, 30, wire.OBJECT_PUT),
        row(3, 45, 50, wire.DESERIALIZE, 900),
        row(4, 40, 60, wire.OBJECT_GET),
        row(5, 70, 90, wire.REPORT),
    ]
    found = raw_spans(rows, [], Clock(1000, 0), main_thread=1)
    assert [(span.name, span.size_bytes, span.start_ns) for span in found] == [
        (names.RAY_PUT, 800, 1005),
        (names.RAY_GET, 900, 1040),
        (names.REPORT, None, 1070),
    ]
    on_main = raw_spans(rows, [], Clock(1000, 0), main_thread=77)
    assert len(on_main) == 3
    assert training_thread(rows) == 77


def test_device_times_come_to_their_pieces() -> None:
    rows = [
        (1, 10, 20, wire.FORWARD, 3, 3, 7),
        (2, 10, 20, wire.DEVICE, wire.FORWARD, 555, 7),
    ]
    (forward,) = raw_spans(rows, [], Clock(0, 0))
    assert forward.device_ns == 555


def test_the_names_are_those_of_the_exporters() -> None:
    theirs = {
        value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)
    }
    ours = {value for name, value in vars(names).items() if "." in str(value) and name.isupper()}
    own = {
        names.COLLECTIVE_END,
        names.COLLECTIVE_WAIT,
        names.DEVICE_NS,
        names.INFERRED,
        names.RAY_GET,
        names.RAY_PUT,
    }
    assert ours - own <= theirs
