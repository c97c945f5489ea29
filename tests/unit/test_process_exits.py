"""Runs that have ended: which rank ended first, and of what."""

from __future__ import annotations

from typing import Any

import pytest

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.handles import NodeHandle, Submission
from dsray_inspect.agent.sampling.rank_report import ControllerReport
from dsray_inspect.agent.verdict import judge
from tests.unit.endings import ACCOUNT, OWN, PEER, ended, policy, post_mortem
from tests.unit.samples import IN_USER, job, rank, sample_of


def test_the_first_error_of_its_own_is_to_blame_not_those_that_follow() -> None:
    snapshot = post_mortem(ACCOUNT, policy(("0", PEER), ("1", OWN)))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("failed", "worker_dead")
    assert snapshot.verdict.ranks == (1,)
    assert "train.py:25: KeyError: 'x'" in snapshot.verdict.summary


def test_who_died_by_itself_is_to_blame_whatever_others_say() -> None:
    exits = {"w0": ended(0, "SYSTEM_ERROR", 5.0), "w1": ended(1, "INTENDED_SYSTEM_EXIT", 6.0)}
    snapshot = post_mortem(ACCOUNT, policy(("0", PEER)), exits=exits)
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("worker_dead", (1,))
    assert "pid 100" in snapshot.verdict.summary


@pytest.mark.parametrize(
    ("more", "cause", "ranks"),
    [
        ({"killed": [100]}, "worker_oom", (1,)),
        ({"words": ["what(): 44 vs 8. Received data size doesn't match expected size."]},
         "collective_mismatch", ()),
        ({"words": ["*** SIGSEGV received"]}, "worker_dead", (1,)),
    ],
)  # fmt: skip
def test_what_a_process_died_of(more: Any, cause: str, ranks: tuple[int, ...]) -> None:
    exits = {"w0": ended(0, "SYSTEM_ERROR", 5.0)}
    snapshot = post_mortem(ACCOUNT, exits=exits, **more)
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == (cause, ranks)


def test_ray_kills_for_memory_too() -> None:
    snapshot = post_mortem(ACCOUNT, exits={"w1": ended(1, "NODE_OUT_OF_MEMORY", 5.0)})
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("worker_oom", (0,))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("RuntimeError: connectFullMesh failed with remote=[127.0.0.1]:2", "network_unreachable"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "worker_oom"),
        (PEER, "unknown"),
    ],
)
def test_errors_that_name_their_cause(text: str, cause: str) -> None:
    assert post_mortem(ACCOUNT, policy(("0,1", text))).verdict.cause == cause


def test_a_failure_before_the_newest_group_is_over() -> None:
    sample = post_mortem(policy(("1", OWN)), ACCOUNT)
    assert sample.findings == ()


def test_a_lost_node_takes_its_ranks_along() -> None:
    sample = sample_of(
        rank(0, IN_USER, 0.1),
        "the actor is dead",
        actors={1: {"state": "DEAD", "node_id": "n2"}},
    )
    sample.observation.nodes.append(
        NodeHandle(node_id="n2", ip="10.0.0.2", hostname="host-b", alive=False, resources={})
    )
    snapshot = judge(assemble(sample.observation))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("failed", "node_lost")


def test_an_interface_that_is_not_there_is_told_with_its_variable() -> None:
    text = "RuntimeError: [enforce fail at device.cc:84] ifa != nullptr. Unable to find address for: ib9"
    told = {
        "processes": {},
        "post_mortem": {
            "train_log": [{"at": 1.0, "message": policy(("0,1", text))}],
            "interfaces": ["eth0", "lo"],
        },
    }
    sample = sample_of(
        "the actor is dead",
        actors={0: {"state": "DEAD"}},
        job=job(is_dead=True, runtime_env_vars={"GLOO_SOCKET_IFNAME": "ib9", "FOO": "ib9"}),
        submission=Submission(status="FAILED", message="exit code 1"),
        node_answers={"n1": told},
    )
    snapshot = judge(assemble(sample.observation))
    assert snapshot.verdict.cause == "network_unreachable"
    assert "(GLOO_SOCKET_IFNAME=ib9 names no interface of the node)" in snapshot.verdict.summary
    assert snapshot.findings[0].evidence[1] == (
        "GLOO_SOCKET_IFNAME was set by the job's runtime_env; the node's interfaces: eth0, lo"
    )


@pytest.mark.parametrize(
    "detail",
    [
        "Memory usage 8053063680B exceeded threshold of 7650410496B (95.0% of 8053063680B limit)",
        "Memory on the node was 7.50GB / 7.50GB (1.00), which exceeds the memory usage threshold of 0.95.",
    ],
)
def test_ray_says_how_much_memory_was_used(detail: str) -> None:
    exits = {"w1": ended(1, "NODE_OUT_OF_MEMORY", 5.0, detail)}
    snapshot = post_mortem(ACCOUNT, exits=exits)
    assert snapshot.findings[0].evidence[0] == (
        "Ray's memory monitor: 7.5 GiB of 7.5 GiB used on the node, above its threshold of 95 %"
    )


@pytest.mark.parametrize(
    ("failures", "most", "state"),
    [(0, 1, "starting"), (7, -1, "starting"), (1, 1, "failed"), (None, None, "failed")],
)
def test_a_worker_that_ends_is_the_end_only_where_ray_train_gives_up(
    failures: int | None, most: int | None, state: str
) -> None:
    sample = sample_of(
        "the actor is dead",
        rank(1, IN_USER, 0.1),
        actors={0: {"state": "DEAD"}},
        exits={"w0": ended(0, "SYSTEM_ERROR", 99.0)},
    )
    sample.observation.taken_at = 100.0
    sample.observation.controller = ControllerReport(
        state="RUNNING", failures=failures, max_failures=most
    )
    snapshot = judge(assemble(sample.observation))
    assert snapshot.verdict.state == state

    sample.observation.taken_at = 150.0  # the controller should have told by now
    assert judge(assemble(sample.observation)).verdict.state == "failed"
