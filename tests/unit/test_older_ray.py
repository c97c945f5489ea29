"""What other versions of Ray call differently is found under each of its names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dsray_inspect.agent.handles import ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.ray import gcs, train_v2
from dsray_inspect.agent.launchers.ray.launcher import _state_of
from dsray_inspect.agent.launchers.ray.train import adapter_of


@pytest.mark.parametrize("name", ["node_id", "raylet_id"])
def test_the_node_of_an_address(name: str) -> None:
    address = SimpleNamespace(**{name: bytes.fromhex("ab" * 28)})
    assert gcs.node_of(address) == "ab" * 28


def test_an_address_that_names_its_node_in_a_way_we_do_not_know() -> None:
    assert gcs.node_of(SimpleNamespace(ip_address="10.0.0.1")) == ""


class FakeClient:
    """A GCS's answers: the folder of each node where the nodes have one, and the common one."""

    def __init__(self, nodes: dict[bytes, Any], common: bytes | None) -> None:
        self.nodes = nodes
        self.common = common

    def __call__(self, address: str) -> FakeClient:
        return self

    def get_all_node_info(self, timeout: float) -> dict[bytes, Any]:
        return self.nodes

    def internal_kv_get(self, key: bytes, namespace: bytes, timeout: float) -> bytes | None:
        assert (key, namespace) == (b"session_dir", b"session")
        return self.common


OLD, NEW = SimpleNamespace(), SimpleNamespace(session_dir="/tmp/ray/own")


@pytest.mark.parametrize(
    ("node", "common", "folder"),
    [
        (OLD, b"/tmp/ray/session", "/tmp/ray/session"),
        (OLD, None, None),
        (NEW, b"/tmp/ray/session", "/tmp/ray/own"),
        (NEW, None, "/tmp/ray/own"),
    ],
)
def test_the_folder_of_logs(
    node: Any, common: bytes | None, folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray import _raylet

    monkeypatch.setattr(_raylet, "GcsClient", FakeClient({b"\xab": node}, common))
    tables = object.__new__(gcs.Gcs)
    tables.address = "10.0.0.1:6379"
    assert tables.session_dirs() == ({"ab": folder} if folder else {})


def actor(state: str) -> ProcessHandle:
    return ProcessHandle(
        actor_id="a1",
        job_id="01",
        class_name="RayTrainWorker",
        module="ray.train.v2._internal",
        state=state,
        pid=1,
        node_id="n1",
        node_ip="10.0.0.1",
        worker_id="w1",
        runtime_env_vars={},
        started_at=1.0,
    )


@pytest.mark.parametrize(
    ("answers", "state", "shown"),
    [
        (True, "ALIVE", None),
        (False, "ALIVE", "RUNNING"),
        (False, "PENDING_CREATION", "STARTING"),
        (False, "DEAD", None),
    ],
)
def test_a_controller_that_is_no_coroutine_is_not_asked(
    answers: bool, state: str, shown: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_v2, "controller_answers", lambda: answers)
    assert bool(adapter_of("v2").controller_parts) == answers
    run = RunHandle(generation="v2", controller=None, workers=(actor(state),))
    assert _state_of(run) == shown
