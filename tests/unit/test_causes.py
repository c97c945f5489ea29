"""The table of causes: whatever names causes agrees with it, and every cause has a detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from dsray_inspect.agent import causes_page
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.causes import CAUSE_OF_PHASE, CAUSES, badge_of, setup_causes, spec_of
from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.registry import Registration, ordered, registered
from dsray_inspect.agent.model import PHASES, Cause

ROOT = Path(__file__).parents[2]
CODES = tuple(spec.code for spec in CAUSES)


def test_there_is_one_row_for_each_cause() -> None:
    assert get_args(Cause) == CODES


def test_the_schema_has_the_same_causes() -> None:
    schema = json.loads((ROOT / "docs" / "snapshot.schema.json").read_text())
    assert schema["$defs"]["Finding"]["properties"]["cause"]["enum"] == sorted(CODES)


def test_every_cause_has_a_detector_and_no_detector_has_another() -> None:
    assert {cause for registration in registered() for cause in registration.causes} == set(CODES)


@pytest.mark.parametrize("page", ["docs/commands/why.md"])
def test_the_documentation_names_every_cause(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [code for code in CODES if f"`{code}`" not in text] == []


def test_the_start_up_dashboard_shows_the_causes_of_the_set_up() -> None:
    text = (ROOT / "dashboards" / "grafana" / "dsray-startup.json").read_text()
    assert f'kind=~\\"{"|".join(setup_causes())}\\"' in text, "run `make dashboards`"


def test_the_page_of_causes_is_up_to_date() -> None:
    page = (ROOT / "docs" / "causes.md").read_text()
    assert page == causes_page.page(), "run `make causes-page`"
    assert [code for code in CODES if page.count(f"| `{code}` |") != 1] == []


def test_views_of_a_sample_return_no_detections() -> None:
    views = (ROOT / "agent" / "detectors" / "evidence").glob("*.py")
    assert [view.name for view in views if "Detection" in view.read_text()] == []


def test_a_phase_means_at_most_one_cause() -> None:
    phases = [phase for spec in CAUSES if spec.stall for phase in spec.stall.phases]
    assert len(phases) == len(set(phases)) == len(CAUSE_OF_PHASE)
    assert set(phases) <= set(PHASES)


def test_a_cause_without_a_badge_of_its_own_gets_that_of_its_severity() -> None:
    assert badge_of("data_stall", "BLOCKED") == "STARVED"
    assert badge_of("memory_pressure", "suspect") == "suspect"
    assert badge_of("of a newer version", "suspect") == "suspect"
    assert spec_of("worker_oom").ends_run


def test_the_detectors_run_in_the_order_in_which_one_explains_the_next() -> None:
    assert [registration.name for registration in registered()] == [
        "worker_dead",
        "network_unreachable",
        "restart_loop",
        "stopped",
        "controller_blocked",
        "gil_held",
        "resources_pending",
        "driver_blocked",
        "op_compile_lock",
        "op_compile_slow",
        "rendezvous_wait",
        "input_starved",
        "blocked_outside_collective",
        "report_barrier",
        "collectives_differ",
        "config_drift",
        "world_of_one",
        "device_conflict",
        "memory_pressure",
        "nonfinite_loss",
        "overflow_skips",
        "straggler",
        "object_spilling",
        "env_drift",
    ]


def registration(name: str, *after: str) -> Registration:
    def detect(_facts: AnalysisInput) -> list[Detection]:
        return []

    detect.__name__ = name
    return Registration(detect=detect, causes=("unknown",), after=after)


def test_a_detector_comes_after_those_it_names() -> None:
    given = [registration("a", "c"), registration("b"), registration("c", "b")]
    assert [registration.name for registration in ordered(given)] == ["b", "c", "a"]


def test_detectors_that_wait_for_each_other_or_for_nobody_are_an_error() -> None:
    with pytest.raises(ValueError, match="no order for a, b"):
        ordered([registration("a", "b"), registration("b", "a")])

    with pytest.raises(ValueError, match="no order for a"):
        ordered([registration("a", "missing")])
