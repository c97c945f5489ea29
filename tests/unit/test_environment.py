"""Who set a variable, and which differences are worth a look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.environment import Difference, ValueOnRanks, differences, explain
from dsray_inspect.agent.model import EnvSource, EnvVar


def test_in_a_plain_actor_the_users_code_sets_the_place() -> None:
    env = {"RANK": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "CUDA_VISIBLE_DEVICES": "0"}
    told = explain(
        env,
        set_after_exec=frozenset(env),
        from_parent=frozenset(),
        runtime_env={},
        is_ray_trains=False,
    )
    assert {name: variable.source for name, variable in told.items()} == {
        "RANK": "user_code",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "deepspeed",
        "CUDA_VISIBLE_DEVICES": "ray",
    }


def source(
    name: str,
    *,
    later: bool = False,
    raylet: frozenset[str] | None = frozenset(),
    runtime_env: tuple[str, ...] = (),
    value: str = "1",
    **others: str,
) -> EnvSource:
    return explain(
        {**others, name: value},
        set_after_exec=frozenset([name] if later else []),
        from_parent=raylet,
        runtime_env=dict.fromkeys(runtime_env, "1"),
    )[name].source


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RANK", "ray_train"),
        ("MASTER_ADDR", "ray_train"),
        ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "ray_train"),
        ("ACCELERATE_TORCH_DEVICE", "ray_train"),
        ("CUDA_VISIBLE_DEVICES", "ray"),
        ("OMP_NUM_THREADS", "ray"),
        ("PYTHONBREAKPOINT", "ray"),
        ("PYTORCH_NVML_BASED_CUDA_CHECK", "deepspeed"),
        ("LC_CTYPE", "inherited"),
        ("USER_SETTING", "user_code"),
        ("TORCHINDUCTOR_CACHE_DIR", "user_code"),
    ],
)
def test_set_after_exec(name: str, expected: EnvSource) -> None:
    assert source(name, later=True) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RAY_JOB_ID", "ray"),
        ("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "ray_train"),
        ("SPT_NOENV", "ray"),
        ("VIRTUAL_ENV", "ray"),
    ],
)
def test_set_at_exec_but_not_in_the_raylet(name: str, expected: EnvSource) -> None:
    assert source(name) == expected


def test_what_the_raylet_had_is_inherited() -> None:
    assert source("RAY_AUTH_MODE", raylet=frozenset(["RAY_AUTH_MODE"])) == "inherited"
    assert source("HOME", raylet=frozenset(["HOME"])) == "inherited"


def test_without_a_view_of_the_raylet_names_must_do() -> None:
    assert source("RAY_JOB_ID", raylet=None) == "ray"
    assert source("HOME", raylet=None) == "inherited"


def test_runtime_env_wins_unless_changed_later() -> None:
    assert source("FOO", runtime_env=("FOO",)) == "runtime_env"
    assert source("RAY_TRAIN_V2_ENABLED", runtime_env=("RAY_TRAIN_V2_ENABLED",)) == "runtime_env"
    assert source("FOO", runtime_env=("FOO",), later=True) == "user_code"


def test_devices_shared_among_a_nodes_workers_are_ray_trains() -> None:
    name = "CUDA_VISIBLE_DEVICES"
    assert source(name, later=True, value="0,1", LOCAL_WORLD_SIZE="2") == "ray_train"
    assert source(name, later=True, value="0", LOCAL_WORLD_SIZE="2") == "ray"
    assert source(name, later=True, value="0,1", LOCAL_WORLD_SIZE="1") == "ray"
    assert source(name, later=True, value="0,1", LOCAL_WORLD_SIZE="junk") == "ray"


def env(**values: str) -> dict[str, EnvVar]:
    return {name: EnvVar(value=value, source="inherited") for name, value in values.items()}


def test_a_variable_missing_on_a_rank_is_drift() -> None:
    found = differences(
        {0: env(NCCL_SOCKET_IFNAME="eth0"), 1: env(A="1"), 2: env(NCCL_SOCKET_IFNAME="eth0")}
    )
    assert found.drift[1] == Difference(
        name="NCCL_SOCKET_IFNAME",
        values=(
            ValueOnRanks(value="eth0", source="inherited", ranks=(0, 2)),
            ValueOnRanks(value=None, source=None, ranks=(1,)),
        ),
    )


@pytest.mark.parametrize(
    "name",
    [
        "RANK",
        "LOCAL_RANK",
        "NODE_RANK",
        "CUDA_VISIBLE_DEVICES",
        "HOSTNAME",
        "PWD",
        "RAY_RAYLET_PID",
        "RAY_WORKER_ID",
        "OMPI_COMM_WORLD_RANK",
    ],
)
def test_differences_as_they_must_be(name: str) -> None:
    found = differences({0: env(**{name: "0"}), 1: env(**{name: "1"})})
    assert [d.name for d in found.expected] == [name]
    assert found.drift == ()


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "NCCL_DEBUG",
        "WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "OMP_NUM_THREADS",
        "RAY_TRAIN_X_ID",
    ],
)
def test_drift(name: str) -> None:
    found = differences({0: env(**{name: "0"}), 1: env(**{name: "1"})})
    assert [d.name for d in found.drift] == [name]
    assert found.expected == ()


def test_a_rank_that_was_not_seen_differs_from_nobody() -> None:
    assert differences({0: env(A="1"), 1: {}}) == differences({0: env(A="1")})


ENVS = st.dictionaries(
    st.integers(0, 9),
    st.dictionaries(st.sampled_from(["A", "RANK", "B"]), st.sampled_from("xyz"), min_size=1),
)


@given(ENVS)
def test_every_rank_has_one_value_of_each_difference(values: dict[int, dict[str, str]]) -> None:
    found = differences({rank: env(**variables) for rank, variables in values.items()})
    for difference in (*found.expected, *found.drift):
        ranks = sorted(rank for group in difference.values for rank in group.ranks)
        assert ranks == sorted(values)
        for group in difference.values:
            assert all(values[r].get(difference.name) == group.value for r in group.ranks)
