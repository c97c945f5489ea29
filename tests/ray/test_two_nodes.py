"""A cluster with a token and two nodes on one machine: its doctor, its devices and its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import nvml
from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.inspecting import our_actors, ranks_by_cause, take_snapshot
from tests.ray.test_doctor import diagnosis_of, run_doctor


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    """Two nodes with a token and one GPU slot each; both see the machine's first device."""
    with Cluster(num_cpus=2, num_gpus=1, auth="token", second_node=True, warm=True) as cluster:
        yield cluster
    assert not processes.with_mark(cluster.mark)
    assert not cluster.dir.exists()


def test_the_doctor_examines_every_node(two_nodes: Cluster) -> None:
    diagnosis = diagnosis_of(run_doctor(two_nodes, flags=("--json",)))
    assert len(diagnosis.nodes) == 2
    assert diagnosis.exit_code == 0
    two_nodes.wait_for("the doctor's actors to be gone", lambda: not our_actors(two_nodes))


def test_the_cluster_wants_its_token(two_nodes: Cluster) -> None:
    argv = ("ray", "job", "list", "--address", two_nodes.url)
    assert two_nodes.run(*argv, env={"RAY_AUTH_MODE": "disabled"}).returncode != 0


def test_finds_two_ranks_on_one_device(
    two_nodes: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Two workers of 2 CPUs fit on two nodes only.
    job = two_nodes.submit("--gpus", "1", "--cpus", "2")
    for rank in (0, 1):
        job.wait_until_step(rank, 5)

    try:
        library = nvml.build(tmp_path_factory.mktemp("nvml"))
        snapshot = take_snapshot(two_nodes, job, env=library)
    finally:
        job.stop()

    assert len({worker["node_id"] for worker in snapshot["workers"]}) == 2
    assert ranks_by_cause(snapshot)["device_conflict"] == [0, 1]
    verdict = snapshot["verdict"]
    assert (verdict["state"], verdict["cause"]) == ("degraded", "device_conflict")
