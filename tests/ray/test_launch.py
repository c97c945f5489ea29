"""`launch` on a real job: what Ray reserved and set, and how others would start it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ray import scenarios
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job

Plan = dict[str, Any]


def plan_of(cluster: Cluster, job: Job, launcher: str) -> Plan:
    done = cluster.inspect("launch", job.submission_id, "--as", launcher, "--json")
    assert done.returncode == 0, done.stderr
    plan: Plan = json.loads(done.stdout)
    return plan


def test_a_real_job_as_torchrun_would_start_it(cluster: Cluster, hung_job: Job) -> None:
    plan = plan_of(cluster, hung_job, "torchrun")
    (node,) = plan["nodes"]
    assert (plan["live_kind"], plan["world_size"]) == ("ray_train", 2)
    assert (node["ranks"], node["cpus"], node["gpus"]) == ([0, 1], 0.2, 2.0)
    assert plan["program"]["script"].endswith("train.py")
    assert plan["function"]["name"] == "teach"
    (command,) = plan["commands"]
    assert command["argv"][:3] == ["torchrun", "--nnodes=1", "--nproc-per-node=2"]
    assert {row["topic"] for row in plan["lost"]} >= {
        "restarts",
        "Ray Data",
        "reports",
        "placement",
    }


def test_what_ray_set_stands_beside_what_torchrun_sets(cluster: Cluster, hung_job: Job) -> None:
    plan = plan_of(cluster, hung_job, "torchrun")
    env = plan["ranks"][1]["env"]
    rank = {"value": "1", "set_by": "torchrun", "note": "", "live": "1"}
    assert env["RANK"] == {**rank, "live_source": "ray_train"}
    assert env["MASTER_PORT"]["live"] != env["MASTER_PORT"]["value"] == "29500"
    others = {one["name"]: one for one in plan["others"]}
    assert others["HF_TOKEN"]["fate"] == others["DATABASE_URL"]["fate"] == "passed_on"
    assert others["RAY_JOB_ID"]["fate"] == "gone"
    assert others["USER_SETTING"]["fate"] == "set_again"
    assert others["DS_ACCELERATOR"]["fate"] == "inherited"


@pytest.mark.parametrize("launcher", ["deepspeed", "mpirun", "trainjob", "mpijob", "rayjob"])
def test_no_launcher_gets_to_see_a_secret(cluster: Cluster, hung_job: Job, launcher: str) -> None:
    done = cluster.inspect("launch", hung_job.submission_id, "--as", launcher)
    assert done.returncode == 0, done.stderr
    assert not [word for word in scenarios.PLANTED if word in done.stdout]
    assert "HF_TOKEN" in done.stdout


def test_a_launcher_that_is_unknown_is_refused_before_anything_is_read(cluster: Cluster) -> None:
    done = cluster.inspect("launch", "--as", "horovod")
    assert done.returncode == 2
    assert done.stderr == (
        "error: There is no launcher horovod; "
        "give torchrun, deepspeed, mpirun, trainjob, mpijob or rayjob.\n"
        "  For example, --as torchrun\n"
    )


def test_plain_actors_are_explained_too(cluster: Cluster) -> None:
    job = cluster.submit("--fault-rank", "1", "--fault-step", "6", script="actors.py")
    job.wait_until_step(1, 5)
    plan = plan_of(cluster, job, "deepspeed")
    assert (plan["live_kind"], plan["world_size"]) == ("ray_actors", 3)
    assert plan["function"]["name"].endswith("fit")
    assert plan["ranks"][2]["env"]["RANK"]["live_source"] == "user_code"
    assert "driver" in {row["topic"] for row in plan["lost"]}
