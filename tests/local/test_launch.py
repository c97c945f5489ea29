"""`launch`: what it prints is run, and every rank's live environment is compared with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from dsray_inspect.agent.launch.plan import LauncherName, LaunchPlan
from dsray_inspect.agent.launch.planner import plan_of
from dsray_inspect.agent.text.launch import launch_text
from tests.local.launches import (
    SCRIPT,
    Ranks,
    assert_as_planned,
    has_mpirun,
    printed_lines,
    script_in,
    start_by_hand,
)
from tests.local.test_worlds import free_port
from tests.unit import launch_jobs
from tests.unit.snapshots import recorded

RANKS = 2
LAUNCHERS: tuple[LauncherName, ...] = ("torchrun", "deepspeed", "mpirun")
Plan = dict[str, Any]

pytestmark = [pytest.mark.xdist_group("no cluster"), pytest.mark.timeout(1200)]


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    found = Ranks()

    try:
        yield found
    finally:
        found.close()


def skip_without(launcher: str) -> None:
    if launcher == "mpirun" and not has_mpirun():
        pytest.skip("Open MPI is not installed")


def as_json(plan: LaunchPlan) -> Plan:
    document: Plan = json.loads(msgspec.json.encode(plan))
    return document


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_ranks_of_no_launcher_start_as_printed(launcher: LauncherName, ranks: Ranks) -> None:
    skip_without(launcher)
    pid = start_by_hand(ranks, RANKS, free_port())
    before = ranks.wait_for(RANKS)
    words = ("launch", "--local", str(pid), "--as", launcher, "--master-port", str(free_port()))
    done = ranks.inspect(*words)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = printed_lines(done.stdout)
    plan: Plan = json.loads(ranks.inspect(*words, "--json").stdout)
    assert plan["commands"][0]["line"] == line
    assert plan["live_kind"] == "processes"
    assert plan["program"]["script"] == str(SCRIPT)
    assert plan["ranks"][1]["env"].get("RANK", {"live": "1"})["live"] == "1"
    ranks.leave()

    ranks.start_line(line)
    dumps = ranks.wait_for(RANKS)
    assert_as_planned(plan, dumps, ranks.env)
    assert {rank: dump["sum"] for rank, dump in dumps.items()} == dict.fromkeys(dumps, 1.0)
    assert [dump["note"] for dump in dumps.values()] == ["two words"] * RANKS
    assert before.keys() == dumps.keys()


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_ranks_of_ray_train_start_as_printed(launcher: LauncherName, ranks: Ranks) -> None:
    """The live job is a recorded one; its variables are passed on, its script is ours."""
    skip_without(launcher)
    job = launch_jobs.ray_train(
        entrypoint=script_in(ranks.folder), ips=["127.0.0.1"], uses_deepspeed=False
    )
    plan = plan_of(job, recorded("hung"), launcher, port=free_port())
    (line,) = printed_lines(launch_text(plan))
    ranks.start_line(line)
    dumps = ranks.wait_for(3)
    assert_as_planned(as_json(plan), dumps, ranks.env)
    assert {dump["env"]["NCCL_DEBUG"] for dump in dumps.values()} == {"WARN"}
    assert not any("RAY_JOB_ID" in dump["env"] for dump in dumps.values())


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_two_nodes_start_as_printed(launcher: LauncherName, ranks: Ranks) -> None:
    """Both are this machine, by two of its loopback addresses."""
    job = launch_jobs.ray_train(
        entrypoint=script_in(ranks.folder), ips=["127.0.0.1", "127.0.0.1", "127.0.0.2"]
    )
    plan = plan_of(job, recorded("hung"), launcher, port=free_port())
    lines = printed_lines(launch_text(plan))

    for file in plan.files:
        (ranks.folder / file.name).write_text(file.text)

    if launcher == "deepspeed":
        # Its other way to start on several nodes: what pdsh would run on each.
        given = " ".join(f"{name}={value}" for name, value in passed_on(plan).items())
        lines = [
            f"{given} {lines[0].replace('--hostfile', f'--no_ssh --node_rank {node} --hostfile')}"
            for node in range(2)
        ]

    assert len(lines) == 2

    for line in lines:
        ranks.start_line(line)

    assert_as_planned(as_json(plan), ranks.wait_for(3), ranks.env)


def test_the_container_of_a_train_job_starts_as_planned(ranks: Ranks) -> None:
    """Its command runs with the variables that Kubeflow's controller gives a pod."""
    job = launch_jobs.ray_train(
        entrypoint=script_in(ranks.folder), ips=["127.0.0.1"], uses_deepspeed=False
    )
    made = plan_of(job, recorded("hung"), "trainjob", port=free_port())
    # The pod has a name in its cluster's DNS; here it is this machine.
    text = msgspec.json.encode(made).decode().replace("j47-node-0-0.j47", "127.0.0.1")
    plan: Plan = json.loads(text)
    trainer = yaml.safe_load(plan["files"][0]["text"])["spec"]["trainer"]
    given = {one["name"]: one["value"] for one in trainer["env"] if "value" in one}
    pod = {
        name: one["value"]
        for name, one in plan["ranks"][0]["env"].items()
        if one["set_by"] == "trainer"
    }
    ranks.start([*trainer["command"], *trainer["args"]], {**given, **pod})
    assert_as_planned(plan, ranks.wait_for(3), ranks.env)


def passed_on(plan: LaunchPlan) -> dict[str, str]:
    file = next(file for file in plan.files if file.name == ".deepspeed_env")
    pairs = (line.partition("=") for line in file.text.splitlines())
    return {name: value for name, _, value in pairs}
