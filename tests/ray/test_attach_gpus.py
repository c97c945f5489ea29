"""GPU slots, what a rank sees of them, and the devices that NVML names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import nvml
from tests.ray import scenarios
from tests.ray.cluster import Cluster
from tests.ray.inspecting import by_rank, causes, look

UUID = "GPU-00000000-0000-0000-0000-00000000000{}"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    """Two nodes with one GPU slot each, on one machine: both see the same first device."""
    with Cluster(num_cpus=2, num_gpus=1, second_node=True) as cluster:
        yield cluster


def test_names_the_device_of_every_rank(cluster: Cluster, library: dict[str, str]) -> None:
    job = scenarios.training(cluster, "--gpus", "1")

    try:
        snapshot = look(cluster, job, env={**library, "FAKE_NVML_GPUS": "8"})
        without = look(cluster, job)
    finally:
        job.stop()

    for worker in snapshot["workers"]:
        slot = worker["gpus"][0]["slot"]
        assert worker["gpus"] == [{"slot": slot, "visible": str(slot), "uuid": UUID.format(slot)}]
        assert worker["evidence"]["gpu"] == "ok"

    devices = snapshot["nodes"][0]["gpus"]
    assert [device["uuid"] for device in devices] == [UUID.format(n) for n in range(8)]
    assert devices[2]["memory_used_bytes"] == 3 << 30
    assert causes(snapshot) == {}
    assert all("NVML" in worker["evidence"]["gpu"] for worker in without["workers"])


def test_finds_two_ranks_on_one_device(two_nodes: Cluster, library: dict[str, str]) -> None:
    job = scenarios.training(two_nodes, "--gpus", "1")

    try:
        snapshot = look(two_nodes, job, env=library)
    finally:
        job.stop()

    assert len({worker["node_id"] for worker in snapshot["workers"]}) == 2
    assert causes(snapshot)["device_conflict"] == [0, 1]
    assert snapshot["verdict"]["state"] == "degraded"


def test_a_shared_device_is_no_conflict(cluster: Cluster, library: dict[str, str]) -> None:
    job = scenarios.training(cluster, "--gpus", "0.5")

    try:
        snapshot = look(cluster, job, env={**library, "FAKE_NVML_GPUS": "8"})
    finally:
        job.stop()

    shared = {gpu["uuid"] for worker in by_rank(snapshot).values() for gpu in worker["gpus"]}
    assert len(shared) == 1
    assert causes(snapshot) == {}
