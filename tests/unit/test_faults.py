"""The fault suite itself: its catalogue covers the causes, and its figures are figured right."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from dsray_inspect.agent.model import Cause
from tests.faults import catalog, scores, tools
from tests.faults.run import Score

NOT_ON_ONE_HOST = {"node_lost"}
"""What takes a second host has its tests in tests/ray/test_two_hosts.py."""


def score(**more: Any) -> Score:
    facts: dict[str, Any] = {
        "tool": "ours",
        "case": "x/y",
        "expected": ("data_stall",),
        "state": "hung",
        "cause": "data_stall",
        "ranks": (1,),
        "cause_is_right": True,
        "culprit_is_right": True,
        "seconds": 4.0,
        "look_s": 1.0,
        "looked_at": 100.0,
        "wrong_on_the_way": (),
        **more,
    }
    return Score(**facts)


WRONG = score(cause="straggler", cause_is_right=False, culprit_is_right=False, seconds=None)
HEALTHY = score(expected=(), cause=None, ranks=(), state="healthy", culprit_is_right=None)
ALARM = score(expected=(), cause="gil_held", cause_is_right=False, culprit_is_right=None)


def test_every_cause_has_a_fault() -> None:
    covered = {cause for case in catalog.CASES for cause in case.causes}
    assert set(get_args(Cause)) - covered <= NOT_ON_ONE_HOST


def test_there_are_as_many_as_promised() -> None:
    healthy = [case for case in catalog.CASES if case.is_healthy]
    assert len(catalog.CASES) - len(healthy) >= 30
    assert len(healthy) >= 12
    assert len({case.name for case in catalog.CASES}) == len(catalog.CASES)


def test_every_case_is_a_fault_that_its_script_describes() -> None:
    for script in {case.script for case in catalog.CASES}:
        faults = {case.fault for case in catalog.CASES if case.script == script}
        assert faults | {"none"} == described(script) | {"none"}, script


def described(script: str) -> set[str]:
    """Return the keys of a script's `FAULTS`; the script itself needs what its job has."""
    tree = ast.parse((Path(catalog.__file__).parent / "jobs" / script).read_text())
    [table] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FAULTS"
    ]
    return set(ast.literal_eval(table))


def test_the_page_counts_them() -> None:
    healthy = sum(case.is_healthy for case in catalog.CASES)
    counted = f"{len(catalog.CASES) - healthy} faults, {healthy} healthy jobs"
    assert counted in (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


def test_a_seed_draws_the_same_places_again() -> None:
    places = [case.place(7) for case in catalog.CASES]
    assert places == [case.place(7) for case in catalog.CASES]
    assert len({rank for rank, _ in places}) == catalog.WORKERS


def test_the_figures() -> None:
    figures = scores.summary([score(), score(), WRONG, HEALTHY])
    assert (figures["precision"], figures["recall"]) == (0.667, 0.667)
    assert figures["culprit_accuracy"] == 0.667
    assert figures["false_alarms"] == []
    assert figures["seconds_to_verdict_median"] == 4.0


def test_an_alarm_about_a_healthy_job_costs_precision() -> None:
    figures = scores.summary([score(), ALARM])
    assert figures["precision"] == 0.5
    assert figures["false_hung"] == ["x/y"]


def test_what_was_taken_for_what() -> None:
    assert scores.confusion([score(), WRONG, HEALTHY]) == {
        "data_stall": {"data_stall": 1, "straggler": 1},
        "–": {"–": 1},
    }


def test_each_tool_has_its_own_figures(tmp_path: Path) -> None:
    found = [score(), score(tool="other", cause=None, cause_is_right=False), HEALTHY]
    scores.keep(found, tmp_path / "all.json")
    kept = json.loads((tmp_path / "all.json").read_text())
    assert {tool: own["summary"]["recall"] for tool, own in kept.items()} == {
        "ours": 1.0,
        "other": 0.0,
    }
    assert [len(own["cases"]) for own in kept.values()] == [2, 1]


def test_unknown_names_are_told() -> None:
    with pytest.raises(LookupError, match="no case nowhere"):
        catalog.named(["nowhere"])

    with pytest.raises(LookupError, match="majority-stack"):
        tools.tool("oracle")
