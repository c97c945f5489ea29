"""Which processes are ranks, of which world: by their variables and their ancestors."""

from __future__ import annotations

import pytest

from dsray_inspect.agent.launchers.local.worlds import Launcher, TorchProcess, World, worlds_of

TORCHRUN = 100
SHELL = 50


def process(
    pid: int, *ancestors: int, variables: dict[str, str], started_at: float = 1.0
) -> TorchProcess:
    """Return a process that its nearest ancestor started."""
    launcher = Launcher(pid=ancestors[0], command="launcher", started_at=0.5)
    return TorchProcess(
        pid=pid,
        started_at=started_at,
        command="train.py",
        variables=variables,
        ancestors=ancestors,
        launcher=launcher,
    )


def rank(
    number: int, *ancestors: int, of: int = 2, pid: int = 0, more: dict[str, str] | None = None
) -> TorchProcess:
    """Return a rank as torchrun starts it."""
    variables = {"RANK": str(number), "WORLD_SIZE": str(of), "LOCAL_WORLD_SIZE": str(of)}
    own = {"TORCHELASTIC_RUN_ID": "none", **variables, **(more or {})}
    return process(pid or 1000 + number, *(ancestors or (TORCHRUN, SHELL)), variables=own)


def only(*processes: TorchProcess) -> World:
    (world,) = worlds_of(processes)
    return world


def test_the_ranks_of_one_launcher_are_a_world() -> None:
    world = only(rank(1), rank(0))
    assert (world.kind, world.name, world.size) == ("torchrun", "torchrun-100", 2)
    assert list(world.ranks) == [0, 1]
    assert world.is_all_here
    assert world.missing == ()


def test_a_rank_that_is_gone_is_missing() -> None:
    assert only(rank(0, of=3), rank(2, of=3)).missing == (1,)


def test_a_child_of_a_rank_is_no_rank() -> None:
    loader = rank(0, 1000, TORCHRUN, pid=2000)
    assert {member.pid for member in only(rank(0), rank(1), loader).ranks.values()} == {1000, 1001}


def test_of_two_processes_with_one_rank_the_newer_one_counts() -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "x"}
    old = process(900, TORCHRUN, started_at=1.0, variables=alone)
    new = process(901, TORCHRUN, started_at=9.0, variables=alone)
    assert only(new, old).ranks[0].pid == 901


def test_a_torchrun_that_slurm_started_is_no_rank_of_slurm() -> None:
    step = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
    torchrun = process(TORCHRUN, SHELL, variables=step)
    world = only(torchrun, rank(0, more=step), rank(1, more=step))
    assert world.kind == "torchrun"


def test_slurms_own_tasks_are_ranks() -> None:
    tasks = [
        process(pid, SHELL, variables={"SLURM_PROCID": str(pid), "SLURM_NTASKS": "2"})
        for pid in (0, 1)
    ]
    world = only(*tasks)
    assert (world.kind, list(world.ranks)) == ("slurm", [0, 1])


def test_what_a_ray_in_slurm_starts_is_no_rank_of_slurm() -> None:
    inherited = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "RAY_RAYLET_PID": "7"}
    assert worlds_of([process(10, 7, variables=inherited)]) == []
    actor = process(10, 7, variables={"RANK": "3", "WORLD_SIZE": "4", **inherited})
    assert (only(actor).kind, list(only(actor).ranks)) == ("ray_actors", [3])


@pytest.mark.parametrize("kind", ["processes", "ray_actors"])
def test_two_worlds_of_one_parent_have_a_name_each(kind: str) -> None:
    more = {"RAY_RAYLET_PID": "7"} if kind == "ray_actors" else {}
    found = worlds_of(
        [
            process(
                pid,
                SHELL,
                variables={"RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": port, **more},
            )
            for pid, port in ((10, "1"), (11, "2"))
        ]
    )
    assert len({world.name for world in found}) == 2
    assert {world.kind for world in found} == {kind}
