"""When a verdict is news, and how it is told in a line."""

from __future__ import annotations

import json

import msgspec

from dsray_inspect.agent.documents import VerdictChangeView
from dsray_inspect.agent.text.style import Style
from dsray_inspect.agent.text.verdict_change import is_news, verdict_line
from tests.unit import snapshots

HUNG, HEALTHY = snapshots.recorded("hung"), snapshots.recorded("healthy")


def test_a_line_has_time_job_and_verdict() -> None:
    snapshot = msgspec.structs.replace(HUNG, taken_at=1_764_000_000.7)
    assert verdict_line(snapshot) == f"2025-11-24T16:00:00Z  j47  HUNG: {HUNG.verdict.summary}"
    assert "\n" not in verdict_line(snapshot)
    assert "\033[" in verdict_line(snapshot, Style(color=True))


def test_the_same_state_cause_and_ranks_are_no_news() -> None:
    verdict = msgspec.structs.replace(HUNG.verdict, summary="for 5 s longer")
    assert not is_news(HUNG, msgspec.structs.replace(HUNG, verdict=verdict))


def test_what_is_news() -> None:
    assert is_news(None, HUNG)
    assert is_news(HEALTHY, HUNG)
    other_ranks = msgspec.structs.replace(HUNG.verdict, ranks=(0,))
    assert is_news(HUNG, msgspec.structs.replace(HUNG, verdict=other_ranks))
    other_job = msgspec.structs.replace(HUNG.job, job_id="99000000")
    assert is_news(HUNG, msgspec.structs.replace(HUNG, job=other_job))


def test_the_json_line_has_what_a_script_needs() -> None:
    told = json.loads(msgspec.json.encode(VerdictChangeView(snapshot=HUNG).document()))
    assert set(told) == {"at", "job", "run", "verdict", "findings", "schema_version"}
    assert (told["job"], told["verdict"]["cause"]) == ("j47", "rank_blocked_in_user_code")
    assert told["findings"][0]["ranks"] == [1]
