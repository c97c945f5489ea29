"""`launch`: plans of recorded jobs, what differs, and how both are told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import msgspec
import pytest

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.handles import ALIVE, ProcessHandle
from dsray_inspect.agent.launch.facts import facts_of
from dsray_inspect.agent.launch.plan import LauncherName, LaunchPlan
from dsray_inspect.agent.launch.services import lost
from dsray_inspect.agent.model import Role, StackGroup, Stacks
from dsray_inspect.agent.text.launch import launch_text
from tests.unit import launch_jobs
from tests.unit.launch_jobs import THREE_NODES, TWO_NODES, plan, variables
from tests.unit.snapshots import recorded

LAUNCHERS: tuple[LauncherName, ...] = get_args(LauncherName)


def fates(found: LaunchPlan) -> dict[str, str]:
    return {variable.name: variable.fate for variable in found.others}


# Plans


def test_torchrun_has_one_command_per_node() -> None:
    found = plan("torchrun", ips=TWO_NODES)
    assert [command.node_ip for command in found.commands] == ["10.0.0.1", "10.0.0.2"]
    assert found.commands[1].argv[:6] == (
        *("torchrun", "--nnodes=2", "--node-rank=1", "--nproc-per-node=1"),
        *("--master-addr=10.0.0.1", "--master-port=29500"),
    )
    assert variables(found, "RANK") == ["0", "1", "2"]
    assert variables(found, "LOCAL_RANK") == ["0", "1", "0"]
    assert variables(found, "GROUP_RANK") == ["0", "0", "1"]
    assert variables(found, "LOCAL_WORLD_SIZE") == ["2", "2", "1"]


def test_torchrun_limits_threads_only_where_a_node_has_several_ranks() -> None:
    ranks = plan("torchrun", ips=TWO_NODES).ranks
    assert [rank.env.get("OMP_NUM_THREADS") is not None for rank in ranks] == [True, True, False]


def test_deepspeed_gets_a_hostfile_and_the_users_variables_in_a_file() -> None:
    found = plan("deepspeed", ips=TWO_NODES)
    files = {file.name: file.text for file in found.files}
    assert files["hostfile"] == "10.0.0.1 slots=2\n10.0.0.2 slots=1\n"
    assert "NCCL_DEBUG=WARN\n" in files[".deepspeed_env"]
    assert "--hostfile hostfile" in found.commands[0].line
    assert "--no_local_rank" in found.commands[0].argv
    assert variables(found, "CUDA_VISIBLE_DEVICES") == ["0,1", "0,1", "0"]
    assert variables(found, "MASTER_ADDR") == ["10.0.0.1"] * 3


def test_deepspeed_on_one_node_meets_at_loopback() -> None:
    found = plan("deepspeed")
    assert found.files == ()
    assert variables(found, "MASTER_ADDR") == ["127.0.0.1"] * 3
    assert found.commands[0].line.startswith("NCCL_DEBUG=WARN ")


def test_mpirun_passes_variables_on_by_name() -> None:
    found = plan("mpirun", ips=THREE_NODES)
    argv = found.commands[0].argv
    assert ("-x", "NCCL_DEBUG=WARN") in pairwise(argv)
    assert "MASTER_ADDR=10.0.0.1" in argv
    assert variables(found, "OMPI_COMM_WORLD_LOCAL_RANK") == ["0", "0", "0"]


def test_deepspeed_finds_its_place_under_mpirun_by_itself() -> None:
    found = plan("mpirun", uses_deepspeed=True)
    assert not any(word.startswith("MASTER_ADDR") for word in found.commands[0].argv)
    assert found.ranks[2].env["RANK"].set_by == "deepspeed"
    assert any("mpi4py" in note for note in found.notes)


def test_deepspeeds_launcher_alone_is_no_use_of_deepspeed() -> None:
    snapshot = recorded("hung")
    workers = tuple(msgspec.structs.replace(worker, versions={}) for worker in snapshot.workers)
    frame = msgspec.structs.replace(snapshot.stacks.groups[0].frames[0], layer="deepspeed")
    roles: tuple[Role, ...] = ("driver", "worker")
    groups = [StackGroup(ranks=(), role=role, thread="", frames=(frame,)) for role in roles]
    launched, used = (
        msgspec.structs.replace(snapshot, workers=workers, stacks=Stacks(groups=(group,)))
        for group in groups
    )
    candidate = launch_jobs.candidate_of(snapshot, 0)
    assert not facts_of(candidate, launched).uses_deepspeed
    assert facts_of(candidate, used).uses_deepspeed


def test_each_variable_stands_beside_the_live_one() -> None:
    rank = plan("torchrun").ranks[1].env["MASTER_PORT"]
    assert (rank.value, rank.set_by) == ("29500", "torchrun")
    assert (rank.live, rank.live_source) == ("40577", "ray_train")


def test_every_live_variable_has_a_fate() -> None:
    found = fates(plan("torchrun"))
    assert found["NCCL_DEBUG"] == found["HF_TOKEN"] == "passed_on"
    assert found["USER_SETTING"] == found["TORCHINDUCTOR_CACHE_DIR"] == "set_again"
    assert found["DS_ACCELERATOR"] == "inherited"
    assert found["RAY_JOB_ID"] == found["NODE_RANK"] == "gone"
    assert found["RAY_WARN_BLOCKING_GET_INSIDE_ASYNC"] == "gone", "only Ray reads it"
    assert "RANK" not in found
    assert "SHELL" not in found


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_no_secret_is_on_a_command_line_or_in_a_file(launcher: LauncherName) -> None:
    found = plan(launcher)
    assert "<redacted>" not in "".join(command.line for command in found.commands)
    assert "<redacted>" not in "".join(file.text for file in found.files)
    assert any("HF_TOKEN" in note for note in found.notes)


def test_ranks_spread_over_nodes_are_numbered_anew() -> None:
    found = plan("torchrun", ips=("10.0.0.1", "10.0.0.2", "10.0.0.1"))
    assert [node.ranks for node in found.nodes] == [(0, 2), (1,)]
    assert [rank.live_rank for rank in found.ranks] == [0, 2, 1]
    assert "order" in {row.topic for row in found.changed}


def test_ranks_that_were_not_seen_are_named() -> None:
    job = msgspec.structs.replace(launch_jobs.ray_train(), missing_ranks=(3, 4))
    assert plan("torchrun", job).notes[0].startswith("Not seen, and left out: ranks 3, 4.")


# What differs


def test_ray_data_is_named_where_the_job_uses_it() -> None:
    splitter = ProcessHandle(
        *(),
        actor_id="s",
        job_id="1",
        class_name="SplitCoordinator",
        module="ray.data._internal.iterator.stream_split_iterator",
        state=ALIVE,
        pid=1,
        node_id="n",
        node_ip="10.0.0.1",
        runtime_env_vars={},
        started_at=0.0,
    )
    row = topic(lost(launch_jobs.ray_train(helpers=[splitter]), "torchrun"), "Ray Data")
    assert row.live == "feeds the ranks (SplitCoordinator)"
    row = topic(lost(launch_jobs.ray_train(), "torchrun"), "Ray Data")
    assert row.live == "no actor of it runs in this job"


def topic(rows: Any, name: str) -> Any:
    (row,) = [row for row in rows if row.topic == name]
    return row


def test_restarts_so_far_are_counted() -> None:
    row = topic(plan("torchrun", past_groups=2).lost, "restarts")
    assert row.live.endswith("if need be (2 times so far)")
    assert "--max-restarts" in row.other


def test_a_ray_job_loses_nothing_of_ray() -> None:
    assert plan("rayjob").lost == ()


def test_plain_actors_have_a_driver_to_lose() -> None:
    job = launch_jobs.ray_train(module="my.actors", class_name="PolicyActor")
    topics = [row.topic for row in plan("torchrun", job).lost]
    assert "driver" in topics
    assert "reports" not in topics


def test_a_world_of_torchrun_loses_nothing_of_ray() -> None:
    job = launch_jobs.ray_train(
        module="", class_name="torchrun", required={}, argv=("python", "train.py")
    )
    found = plan("deepspeed", job)
    assert (found.live_kind, found.lost) == ("torchrun", ())
    assert "CPUs are not asked for" in " ".join(plan("mpijob", job).notes)


def test_the_scripts_rank_argument_of_deepspeed_is_kept_or_named() -> None:
    argv = ("python", "-u", "train.py", "--local_rank=1", "--lr", "1")
    job = launch_jobs.ray_train(module="", class_name="deepspeed", required={}, argv=argv)
    assert "--no_local_rank" not in plan("deepspeed", job).commands[0].argv
    row = topic(plan("torchrun", job).changed, "arguments")
    assert row.other == "no such argument: the script reads LOCAL_RANK"


def test_ranks_are_told_what_open_mpi_would_bind_them_to() -> None:
    assert "--bind-to none" in topic(plan("mpirun").changed, "cores").other
    assert "--bind-to" in plan("mpirun").commands[0].argv
    job = launch_jobs.ray_train(module="", class_name="mpi", required={})
    assert "cores" not in {row.topic for row in plan("mpijob", job).changed}


def test_device_lists_are_compared() -> None:
    row = topic(plan("deepspeed", ips=TWO_NODES).changed, "devices")
    assert row.live == "CUDA_VISIBLE_DEVICES=0,1,2"
    assert row.other == "CUDA_VISIBLE_DEVICES=0,1 for every rank of a node; LOCAL_RANK picks one"
    row = topic(plan("mpirun").changed, "devices")
    assert row.other.endswith("OMPI_COMM_WORLD_LOCAL_RANK picks one")


# Text


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_text_says_all_of_it(launcher: LauncherName) -> None:
    text = launch_text(plan(launcher))
    assert "An explanation, not a migration" in text
    for title in ("command", "each rank's variables", "notes"):
        assert f"\n{title}\n" in text
    # A RayJob is Ray again.
    assert ("will not" in text) == ("what is different" in text) == (launcher != "rayjob")


def test_values_of_all_ranks_are_one_cell() -> None:
    lines = launch_text(plan("torchrun")).split("\n")
    (rank,) = [line for line in lines if line.startswith("  RANK ")]
    assert rank.split() == ["RANK", "0-2", "torchrun", "0-2", "ray_train"]


# The command line


@pytest.mark.parametrize("words", [("--as", "horovod"), ()])
def test_an_unknown_launcher_is_refused_with_all_names(words: tuple[str, ...]) -> None:
    from dsray_inspect.agent.cli import group

    with pytest.raises(UsageError, match="torchrun, deepspeed, mpirun, trainjob, mpijob or rayjob"):
        group.main(("launch", *words), standalone_mode=False)
