"""The manifests of `launch`, by the published schemas of their resources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from dsray_inspect.agent.launch.manifests import kubernetes_name
from dsray_inspect.agent.launch.plan import LauncherName, LaunchPlan
from dsray_inspect.agent.launch.planner import plan_of
from tests.unit import launch_jobs
from tests.unit.launch_jobs import PORT, THREE_NODES, TWO_NODES, plan, variables
from tests.unit.snapshots import recorded

MANIFESTS: tuple[LauncherName, ...] = ("trainjob", "mpijob", "rayjob")
SCHEMAS = Path(__file__).parents[1] / "golden" / "crds"


def schema_of(launcher: str) -> dict[str, Any]:
    """Return the schema of a kind, closed: a field that it does not have is an error."""
    document: dict[str, Any] = json.loads((SCHEMAS / f"{launcher}.json").read_text())
    document["properties"]["metadata"] = {"type": "object"}
    return closed(document)


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: _closed_value(name, value) for name, value in schema.items()}
    is_open = "additionalProperties" in schema or "x-kubernetes-preserve-unknown-fields" in schema

    if "properties" in schema and not is_open:
        found["additionalProperties"] = False

    return found


def _closed_value(name: str, value: Any) -> Any:
    if name == "properties":
        return {key: closed(item) for key, item in value.items()}

    return (
        closed(value)
        if name in ("items", "additionalProperties") and isinstance(value, Mapping)
        else value
    )


def manifest(found: LaunchPlan) -> dict[str, Any]:
    (file,) = found.files
    document: dict[str, Any] = yaml.safe_load(file.text)
    return document


@pytest.mark.parametrize("launcher", MANIFESTS)
@pytest.mark.parametrize("ips", [("10.0.0.1",), TWO_NODES, THREE_NODES])
def test_a_manifest_fits_the_published_schema(launcher: LauncherName, ips: tuple[str, ...]) -> None:
    document = manifest(plan(launcher, ips=ips))
    jsonschema.Draft7Validator(schema_of(launcher)).validate(document)


@pytest.mark.parametrize("launcher", MANIFESTS)
def test_the_schema_finds_a_field_that_does_not_exist(launcher: LauncherName) -> None:
    document = manifest(plan(launcher))
    document["spec"]["replicaz"] = 1
    with pytest.raises(jsonschema.ValidationError, match="replicaz"):
        jsonschema.Draft7Validator(schema_of(launcher)).validate(document)


def test_a_train_job_asks_for_what_ray_reserved() -> None:
    trainer = manifest(plan("trainjob", ips=TWO_NODES))["spec"]["trainer"]
    # Two ranks on one node and one on the other: pods of one rank each.
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (3, 1)
    assert trainer["resourcesPerNode"]["requests"] == {"cpu": "100m", "nvidia.com/gpu": "1"}
    env = {variable["name"]: variable for variable in trainer["env"]}
    assert env["NCCL_DEBUG"]["value"] == "WARN"
    assert env["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "SECRET", "key": "HF_TOKEN"}
    assert not [name for name in env if name.startswith("PET_")], "Trainer refuses these"


def test_the_ranks_of_a_train_job_meet_at_its_first_pod() -> None:
    found = plan("trainjob")
    assert variables(found, "PET_MASTER_ADDR") == ["j47-node-0-0.j47"] * 3
    assert variables(found, "MASTER_ADDR") == ["j47-node-0-0.j47"] * 3


def test_an_mpi_job_gives_its_variables_to_mpirun() -> None:
    spec = manifest(plan("mpijob"))["spec"]
    (launcher,) = spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"]
    words = launcher["args"]
    assert ("-x", "HF_TOKEN") in pairwise(words)
    assert spec["slotsPerWorker"] == 3
    (worker,) = spec["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"] == {"cpu": "300m", "nvidia.com/gpu": "3"}


def test_a_ray_job_has_one_pod_per_node_and_a_head_without_ranks() -> None:
    spec = manifest(plan("rayjob", ips=THREE_NODES))["spec"]
    assert spec["entrypoint"] == recorded("hung").job.entrypoint
    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]["NCCL_DEBUG"] == "WARN"
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == "2.60.0"
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert cluster["workerGroupSpecs"][0]["replicas"] == 3


def test_a_ray_job_of_a_script_without_ray_needs_a_driver() -> None:
    argv = ("python", "train.py", "--lr", "1")
    job = launch_jobs.ray_train(module="", class_name="torchrun", required={}, argv=argv)
    found = plan("rayjob", job)
    assert manifest(found)["spec"]["entrypoint"] == "python train.py --lr 1"
    assert found.notes[0].startswith("Nothing of this job calls Ray: the entrypoint has to be")


def test_fractions_of_a_gpu_are_rounded_up() -> None:
    found = plan("trainjob", required={"CPU": 1.0, "GPU": 0.5})
    requests = manifest(found)["spec"]["trainer"]["resourcesPerNode"]["requests"]
    assert requests == {"cpu": "3", "nvidia.com/gpu": "2"}
    assert any("rounded up" in note for note in found.notes)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("j47", "j47"),
        ("raysubmit_AbC123", "raysubmit-abc123"),
        ("02000000", "job-02000000"),
        ("_", "job"),
    ],
)
def test_names_are_names_of_kubernetes(label: str, name: str) -> None:
    assert kubernetes_name(label) == name


def test_a_ray_job_keeps_an_entrypoint_that_is_not_understood() -> None:
    entrypoint = "cd job && bash run.sh --token <redacted>"
    snapshot = recorded("hung")
    job = msgspec.structs.replace(snapshot.job, entrypoint=entrypoint)
    snapshot = msgspec.structs.replace(snapshot, job=job)
    live = launch_jobs.ray_train(entrypoint=entrypoint)
    found = plan_of(live, snapshot, "rayjob", port=PORT)
    assert manifest(found)["spec"]["entrypoint"] == entrypoint
    assert not any("SCRIPT" in note for note in found.notes)
    assert "a part of the entrypoint is redacted" in " ".join(found.notes).lower()
