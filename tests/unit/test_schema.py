"""`docs/snapshot.schema.json` is the model's, and what real jobs gave fits it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError

from dsray_inspect.agent import schema
from dsray_inspect.agent.model import Snapshot

ROOT = Path(__file__).parents[2]
WRITTEN = ROOT / "docs" / "snapshot.schema.json"
SNAPSHOTS = sorted((ROOT / "tests" / "golden" / "snapshots").glob("*.json"))

# The keys that scripts may rely on, whatever else comes: record, then its required keys.
CONTRACT = {
    "Snapshot": "schema_version taken_at took_s job run driver controller nodes workers stacks "
    "findings verdict",
    "Job": "submission_id job_id entrypoint state",
    "Run": "id name attempt state",
    "Driver": "pid node_ip waiting_on",
    "Controller": "actor_id pid node_ip state waiting_on",
    "Node": "node_id ip hostname gpus agent",
    "Gpu": "index uuid name utilization memory_used_bytes",
    "Agent": "state detail",
    "Worker": "rank local_rank node_rank world_size actor_id worker_id pid node_id node_ip state "
    "gpus function phase step env deepspeed evidence pause_ms",
    "WorkerGpu": "slot visible uuid",
    "Function": "name file line",
    "EnvVar": "value source",
    "DeepSpeed": "version zero_stage dtype micro_batch_size gradient_accumulation_steps offload "
    "config_digest init",
    "InitPhase": "phase seconds",
    "Evidence": "gcs controller worker stack gpu",
    "StackGroup": "ranks thread frames",
    "Frame": "name file line",
    "Finding": "cause severity ranks summary evidence next_step",
    "Verdict": "state cause ranks summary",
}
# Written since the first version, with a default for who builds records in tests.
PRESENT = {"Stacks": "groups", "Frame": "layer"}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(WRITTEN.read_text())
    return loaded


def test_the_written_schema_is_that_of_the_model() -> None:
    assert WRITTEN.read_text() == schema.text(), "run `make schema`"


def test_the_written_schema_of_diff_is_that_of_its_document() -> None:
    written = (ROOT / "docs" / "diff.schema.json").read_text()
    assert written == schema.text("diff"), "run `make schema`"
    Draft202012Validator.check_schema(json.loads(written))


def test_it_is_a_schema(written: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(written)


@pytest.mark.parametrize("record", CONTRACT)
def test_the_contract_is_required(written: dict[str, Any], record: str) -> None:
    required = written["$defs"][record]["required"]
    assert set(CONTRACT[record].split()) <= set(required)


@pytest.mark.parametrize("record", PRESENT)
def test_what_has_a_default_is_described(written: dict[str, Any], record: str) -> None:
    assert set(PRESENT[record].split()) <= set(written["$defs"][record]["properties"])


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_a_recorded_snapshot_fits(written: dict[str, Any], path: Path) -> None:
    Draft202012Validator(written).validate(json.loads(path.read_text()))


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_a_recorded_snapshot_is_read_and_written_again(written: dict[str, Any], path: Path) -> None:
    recorded = msgspec.json.decode(path.read_bytes(), type=Snapshot)
    again = msgspec.json.encode(recorded)
    Draft202012Validator(written).validate(json.loads(again))
    assert msgspec.json.decode(again, type=Snapshot) == recorded


def test_more_keys_than_the_schema_knows_are_welcome(written: dict[str, Any]) -> None:
    snapshot = json.loads(SNAPSHOTS[0].read_text())
    Draft202012Validator(written).validate({**snapshot, "from_a_newer_version": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"verdict": None},
        {"workers": [{}]},
        {"job": {"submission_id": 1, "job_id": "1", "entrypoint": "", "state": ""}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_no_snapshot_is_refused(written: dict[str, Any], change: dict[str, Any]) -> None:
    snapshot = json.loads(SNAPSHOTS[0].read_text())

    with pytest.raises(ValidationError):
        Draft202012Validator(written).validate({**snapshot, **change})


def test_the_recordings_hold_what_they_are_there_for() -> None:
    states = {
        path.stem: msgspec.json.decode(path.read_bytes(), type=Snapshot) for path in SNAPSHOTS
    }
    assert {name: snapshot.verdict.state for name, snapshot in states.items()} == {
        "healthy": "healthy",
        "hung": "hung",
        "pending": "starting",
        "stopped": "hung",
    }
    assert states["hung"].verdict.cause == "rank_blocked_in_user_code"
    assert states["hung"].verdict.ranks == (1,)
    assert states["pending"].workers == ()
    assert states["stopped"].workers[1].evidence.worker != "ok"
