"""What other versions of Ray call differently is found under each of its names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.assemble.role_waits import driver_waits_on
from dsray_inspect.agent.compat import supported
from dsray_inspect.agent.errors import VersionUnsupported
from dsray_inspect.agent.handles import ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.ray import gcs, train_v2, versions
from dsray_inspect.agent.launchers.ray.actor_calls import ActorCalls
from dsray_inspect.agent.launchers.ray.launcher import RayLauncher, _state_of
from dsray_inspect.agent.launchers.ray.train import adapter_of
from dsray_inspect.agent.model import Frame
from dsray_inspect.agent.stacks.layers import label
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.thread import Thread
from dsray_inspect.agent.text.doctor import diagnosis_text
from dsray_inspect.agent.unavailable import Unavailable
from tests.matrix.page import page
from tests.unit.node_checks import cluster, diagnosis, facts, node

VERSIONS = Path(__file__).parents[2] / "docs/versions.md"


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


@pytest.mark.parametrize("ours", ["2.43.0", "2.60.0"])
def test_a_ray_that_is_too_old(ours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = versions.Versions(ray="2.43.0", python="3.11.7")
    monkeypatch.setattr(versions, "cluster_versions", lambda _: theirs)
    monkeypatch.setattr(
        versions, "our_versions", lambda: versions.Versions(ray=ours, python="3.11.7")
    )

    with pytest.raises(VersionUnsupported, match=r"has Ray 2\.43\.0; .* needs Ray 2\.44") as raised:
        versions.check_versions("127.0.0.1:1")

    assert raised.value.exit_code == 6


def test_what_a_version_lacks_is_told_by_the_doctor() -> None:
    lost = supported.lacking("2.46.0")
    assert len(lost) == len(set(lost)) > 3
    assert set(supported.lacking("2.49.2")) < set(lost)
    assert supported.lacking("2.60.0") == ()
    older = msgspec.structs.replace(
        diagnosis(node(facts())), cluster=cluster(ray="2.46.0", lacks=lost)
    )
    text = diagnosis_text(older)
    assert "Ray 2.46.0 gives less than the newest" in text
    assert all(one in text for one in lost)
    assert "gives less" not in diagnosis_text(diagnosis(node(facts())))


@pytest.mark.parametrize("answers", [True, False])
def test_a_run_whose_controller_is_not_asked_says_so_once(
    answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_v2, "controller_answers", lambda: answers)
    launcher = object.__new__(RayLauncher)
    run = RunHandle(generation="v2", controller=actor("ALIVE"), workers=(actor("ALIVE"),))
    assert ["answers no call" in note for note in launcher._notes(run)] == [True] * (not answers)
    parts = ActorCalls.controller_parts(object.__new__(ActorCalls), run)
    reason = parts.reason if isinstance(parts, Unavailable) else None
    assert reason == (None if answers else "no_door")


def test_the_driver_of_train_v1_waits_for_no_controller() -> None:
    tune = ("fit", "/opt/venv/lib/python3.11/site-packages/ray/tune/tuner.py")
    calls = (
        ("main", "/home/user/train.py"),
        ("fit", "/opt/venv/lib/python3.11/site-packages/ray/train/base_trainer.py"),
    )

    def waits_on(*calls: tuple[str, str]) -> str | None:
        frames = label([Frame(name=name, file=file, line=7) for name, file in calls])
        return driver_waits_on([Thread(name="MainThread", tid=1, stack=StackInfo(frames))])

    assert waits_on(*calls) == "fit() waits for the TrainController at train.py:7"
    assert waits_on(*calls, tune) == "fit() waits for its workers at train.py:7"


def test_the_page_of_versions_is_up_to_date() -> None:
    assert VERSIONS.read_text() == page(), "run `make versions-page`"
