"""GPU slots, what a rank sees of them, and the devices that NVML names.

Two ranks on one device are in tests/ray/test_two_nodes.py.
"""

from __future__ import annotations

import pytest

from tests import nvml
from tests.ray.cluster import Cluster
from tests.ray.inspecting import ranks_by_cause, take_snapshot, workers_by_rank
from tests.ray.jobs import Job

UUID = "GPU-00000000-0000-0000-0000-00000000000{}"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return nvml.build(tmp_path_factory.mktemp("nvml"))


def test_names_the_device_of_every_rank(
    cluster: Cluster, hung_job: Job, library: dict[str, str]
) -> None:
    snapshot = take_snapshot(cluster, hung_job, env={**library, "FAKE_NVML_GPUS": "8"})
    without = take_snapshot(cluster, hung_job)

    for worker in snapshot["workers"]:
        slot = worker["gpus"][0]["slot"]
        assert worker["gpus"] == [{"slot": slot, "visible": str(slot), "uuid": UUID.format(slot)}]
        assert worker["evidence"]["gpu"] == "ok"

    devices = snapshot["nodes"][0]["gpus"]
    assert [device["uuid"] for device in devices] == [UUID.format(n) for n in range(8)]
    assert devices[2]["memory_used_bytes"] == 3 << 30
    assert "device_conflict" not in ranks_by_cause(snapshot)
    assert all("NVML" in worker["evidence"]["gpu"] for worker in without["workers"])


def test_a_shared_device_is_no_conflict(
    cluster: Cluster, healthy_job: Job, library: dict[str, str]
) -> None:
    snapshot = take_snapshot(cluster, healthy_job, env={**library, "FAKE_NVML_GPUS": "8"})
    shared = {
        gpu["uuid"] for worker in workers_by_rank(snapshot).values() for gpu in worker["gpus"]
    }
    assert len(shared) == 1
    assert ranks_by_cause(snapshot) == {}
