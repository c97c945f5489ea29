"""Detectors on windows of two looks, put together here: what moves, what stands, what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.handles import NodeHandle, ProcessExit, Submission
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.remote import flight_recorder
from dsray_inspect.agent.sampling.rank_report import ControllerReport
from dsray_inspect.agent.unavailable import Unavailable
from dsray_inspect.agent.verdict import judge
from tests.unit.test_verdict import (
    IN_DATA,
    IN_REDUCE,
    IN_USER,
    RUNNER,
    SITE,
    TEACH,
    actor,
    entered,
    job,
    look,
    rank,
)

APART_S = 1.0
GET = ("get", "get", f"{SITE}/ray/_private/worker.py", 3009)
REPORT = ("report", "report", f"{SITE}/ray/train/v2/_internal/execution/context.py", 400)
SAVE = ("save", "save", f"{SITE}/torch/serialization.py", 900)
INIT = (
    "init_process_group",
    "init_process_group",
    f"{SITE}/torch/distributed/distributed_c10d.py",
    1700,
)
IN_GET = (RUNNER, TEACH, GET)
IN_REPORT = (RUNNER, TEACH, REPORT)
IN_SAVE = (RUNNER, TEACH, SAVE)
STILL: dict[str, Any] = {"cpu_s": 10.0, "moved_bytes": 100, "children": [], "dials": []}


def waits(number: int, age_s: float = 8, **more: Any) -> dict[str, Any]:
    """Return a rank that waits in collective 69."""
    return with_progress(entered(rank(number, IN_REDUCE, age_s), 69, age_s), **more)


def stands(number: int, frames: Any, age_s: float = 8, **more: Any) -> dict[str, Any]:
    """Return a rank that has come to collective 68 and to none since."""
    one = entered(rank(number, frames, more.pop("idle_s", 0.1)), 68, age_s, finished=True)
    return with_progress(one, **more)


def with_progress(one: dict[str, Any], **more: Any) -> dict[str, Any]:
    times = {"ran_s": more.pop("ran_s", 5.0), "run_delay_s": more.pop("run_delay_s", 1.0)}
    thread = {**one["threads"][0], **times}
    return {**one, "threads": [thread], "counters": {**STILL, **more}}


def window(before: tuple[Any, ...], now: tuple[Any, ...], **more: Any) -> Snapshot:
    """Return the verdict of the second of two looks."""
    first, second = look(*before, **more), look(*now, **more)
    first.observation.taken_at, second.observation.taken_at = 100.0, 100.0 + APART_S
    earlier = assemble(first.observation)
    return judge(assemble(second.observation, earlier=earlier))


def twice(*ranks: Any, **more: Any) -> Snapshot:
    return window(ranks, ranks, **more)


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        (IN_USER, "rank_blocked_in_user_code"),
        (IN_DATA, "data_stall"),
        (IN_SAVE, "checkpoint_stall"),
        (IN_GET, "object_wait"),
    ],
)
def test_who_does_nothing_between_two_looks_is_blocked_although_it_polls(
    frames: Any, cause: str
) -> None:
    snapshot = twice(waits(0), stands(1, frames), waits(2))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", cause)
    assert snapshot.verdict.ranks == (1,)


def test_who_has_left_what_it_was_in_is_not_blocked() -> None:
    before, now = stands(1, IN_GET, 6), stands(1, IN_USER, 7)
    snapshot = window((waits(0, 6), before, waits(2, 6)), (waits(0, 7), now, waits(2, 7)))
    assert snapshot.findings == ()
    snapshot = twice(waits(0, 7), now, waits(2, 7))
    assert snapshot.verdict.cause == "rank_blocked_in_user_code"


def test_who_waits_in_c_for_its_newest_collective_is_no_culprit() -> None:
    """`work.wait()` or `loss.item()`: the innermost frame of all ranks is a line of the user's."""

    def item(number: int) -> dict[str, Any]:
        return with_progress(entered(rank(number, IN_USER, 8), 69, 8))

    snapshot = twice(item(0), stands(1, IN_USER), item(2))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("rank_blocked_in_user_code", (1,))
    assert "ranks 0, 2 are waiting for it" in snapshot.verdict.summary


def test_who_has_begun_a_collective_that_all_have_begun_waits_for_nobody() -> None:
    def ahead(number: int, **more: Any) -> dict[str, Any]:
        return with_progress(entered(rank(number, IN_USER, 0.1), 69, 0.2), **more)

    before = tuple(ahead(number) for number in range(3))
    snapshot = window(before, tuple(ahead(number, ran_s=5.9) for number in range(3)))
    assert (snapshot.verdict.state, snapshot.findings) == ("healthy", ())


def test_who_polls_on_a_crowded_machine_still_does_nothing() -> None:
    before = (waits(0), stands(1, IN_USER), waits(2))
    polls = stands(1, IN_USER, ran_s=5.005, run_delay_s=1.5)
    snapshot = window(before, (waits(0), polls, waits(2)))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("rank_blocked_in_user_code", (1,))


@pytest.mark.parametrize(
    "more",
    [
        {"ran_s": 5.9},
        {"ran_s": 5.02, "run_delay_s": 1.9},
        {"run_delay_s": 1.98},
        {"cpu_s": 10.9},
        {"moved_bytes": 50 << 20},
        {"children": [{"pid": 9, "name": "python", "state": "R", "cpu_s": 0.8}]},
    ],
)
def test_who_moves_between_two_looks_takes_its_time(more: dict[str, Any]) -> None:
    before = (waits(0), stands(1, IN_SAVE), waits(2))
    snapshot = window(before, (waits(0), stands(1, IN_SAVE, **more), waits(2)))
    assert snapshot.findings == ()
    assert snapshot.verdict.state == "healthy"


def test_who_was_just_let_go_on_by_a_debugger_is_not_blamed() -> None:
    def seen(state: str) -> dict[str, Any]:
        return {"n1": {"processes": {101: {"state": state}}}}

    ranks = (waits(0), stands(1, IN_USER, idle_s=9), waits(2))
    first, second = look(*ranks, looks=seen("stopped")), look(*ranks, looks=seen("alive"))
    first.observation.taken_at, second.observation.taken_at = 100.0, 100.0 + APART_S
    held = assemble(first.observation)
    assert judge(held).verdict.ranks == (1,)
    assert judge(assemble(second.observation, earlier=held)).findings == ()


def in_get_of(
    actor_cpu_s: tuple[float, float], waited_s: float, getting: tuple[int, ...] = (1,)
) -> Snapshot:
    """Return what is said of ranks in `ray.get` while an actor of the job computes so much."""
    helper = actor(7, class_name="Env", owner_worker_id="w1")
    ranks = tuple(
        stands(number, IN_GET, waited_s) if number in getting else waits(number, waited_s)
        for number in range(3)
    )
    first, second = (
        look(
            *ranks,
            helpers=[helper],
            looks={"n1": {"processes": {107: {"counters": {**STILL, "cpu_s": cpu_s}}}}},
        )
        for cpu_s in actor_cpu_s
    )
    first.observation.taken_at, second.observation.taken_at = 100.0, 100.0 + APART_S
    return judge(assemble(second.observation, earlier=assemble(first.observation)))


def test_an_object_that_is_still_being_made_is_waited_for() -> None:
    assert in_get_of((10.0, 10.9), 8).findings == ()
    late = in_get_of((10.0, 10.9), 40).findings[0]
    assert (late.cause, late.severity, late.ranks) == ("object_wait", "warning", (1,))
    assert "actor Env, pid 107, is still running" in late.summary


def test_it_is_the_actor_that_still_runs_also_for_several_ranks() -> None:
    late = in_get_of((10.0, 10.9), 40, getting=(1, 2)).findings[0]
    assert late.ranks == (1, 2)
    assert "actor Env, pid 107, is still running; rank 0 has waited 40.0 s for them" in late.summary


def test_an_object_that_nobody_makes_is_not() -> None:
    finding = in_get_of((10.0, 10.01), 8).findings[0]
    assert (finding.cause, finding.severity, finding.ranks) == ("object_wait", "error", (1,))
    assert finding.evidence[-1].startswith("actor Env, pid 107: 1 % of a core")


def test_a_machine_without_a_cpu_to_spare_is_told() -> None:
    before = (waits(0, 40), stands(1, IN_USER, 40), waits(2, 40))
    starved = stands(1, IN_USER, 40, ran_s=5.1, run_delay_s=1.6)
    finding = window(before, (waits(0, 40), starved, waits(2, 40))).findings[0]
    assert finding.cause == "straggler"
    assert "queueing for a CPU for 60 % of the time" in finding.evidence[0]


def test_who_moves_for_long_is_slow_and_not_hung() -> None:
    before = (waits(0, 40), stands(1, IN_USER, 40), waits(2, 40))
    snapshot = window(before, (waits(0, 40), stands(1, IN_USER, 40, ran_s=5.9), waits(2, 40)))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("degraded", "straggler")


def test_everybody_in_the_same_place_for_long_waits_for_something_else() -> None:
    snapshot = twice(*(stands(number, IN_USER, 40) for number in range(3)))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == (
        "rank_blocked_in_user_code",
        (0, 1, 2),
    )
    short = twice(*(stands(number, IN_USER, 12) for number in range(3)))
    assert short.findings == ()


@pytest.mark.parametrize(("reporting", "blamed"), [((0,), (0,)), ((0, 2), (1,)), ((0, 1, 2), None)])
def test_a_report_is_a_barrier(reporting: tuple[int, ...], blamed: tuple[int, ...] | None) -> None:
    ranks = [
        stands(number, IN_REPORT) if number in reporting else waits(number) for number in range(3)
    ]
    snapshot = twice(*ranks)

    if blamed is None:
        assert snapshot.findings == ()
    else:
        assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("report_barrier", blamed)


def test_who_sleeps_while_others_report_is_to_blame() -> None:
    snapshot = twice(stands(0, IN_REPORT), stands(1, IN_USER), stands(2, IN_REPORT))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("rank_blocked_in_user_code", (1,))


def test_the_graph_leads_from_the_victims_to_the_root() -> None:
    graph = twice(waits(0), stands(1, IN_USER), waits(2)).graph
    pairs = {(edge.waiter, edge.awaited) for edge in graph.edges}
    collective = "all_reduce #69 (33,030 float, group 1)"
    assert {("rank 0", collective), ("rank 2", collective), (collective, "rank 1")} <= pairs
    assert graph.roots == ("rank 1",)
    assert all(edge.evidence for edge in graph.edges)


def test_ranks_that_stand_alike_are_told_together() -> None:
    looks = (waits(0), stands(1, IN_USER), waits(2), stands(3, IN_USER), stands(4, IN_DATA))
    snapshot = twice(*looks)
    found = [(one.cause, one.ranks) for one in snapshot.findings]
    assert found == [("rank_blocked_in_user_code", (1, 3)), ("data_stall", (4,))]
    assert "Ranks 1, 3 have been blocked in load_batch (train.py:20)" in snapshot.verdict.summary
    assert "ranks 0, 2 are waiting for them" in snapshot.verdict.summary
    evidence = "\n".join(snapshot.findings[0].evidence)
    assert "rank 1: its last collective of that group is #68" in evidence
    assert "rank 3: its last collective of that group is #68" in evidence


def test_slow_ranks_are_told_together() -> None:
    slow = [stands(number, IN_USER, 40, ran_s=5.0) for number in (1, 2)]
    ran = [stands(number, IN_USER, 41, ran_s=5.9, cpu_s=10.9) for number in (1, 2)]
    snapshot = window((waits(0, 40), *slow), (waits(0, 41), *ran))
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == ("straggler", (1, 2))
    assert "Ranks 1-2 are in load_batch (train.py:20) and they are still running" in (
        snapshot.verdict.summary
    )


def in_group(one: dict[str, Any], group: str, members: list[int]) -> dict[str, Any]:
    """Return a rank's answer with its collectives in another process group."""
    entries = [{**entry, "group": group} for entry in one["collectives"]]
    return {**one, "collectives": entries, "group_ranks": {group: members}}


def test_a_collective_waits_for_the_ranks_of_its_own_group() -> None:
    first, second = ("10", [0, 1, 2]), ("11", [3, 4, 5])
    graph = twice(
        in_group(waits(0), *first),
        in_group(stands(1, IN_USER), *first),
        in_group(waits(2), *first),
        in_group(waits(3), *second),
        in_group(stands(4, IN_USER), *second),
        in_group(waits(5), *second),
    ).graph
    lacks = [
        (edge.waiter[-9:], edge.awaited) for edge in graph.edges if "not reached" in edge.because
    ]
    assert sorted(lacks) == [("group 10)", "rank 1"), ("group 11)", "rank 4")]


def came(lateness_s: Sequence[float], parts: int = 3, step_s: float = 1.0) -> dict[str, Any]:
    """Return what a rank's recorder tells that is so late to the first collective of each step.

    To the others it comes together with all, in the middle of the step, 1 ms apart.
    """
    entries = []

    for step, late_s in enumerate(lateness_s):
        for part in range(parts):
            at_s = step * step_s + (late_s if part == 0 else step_s / 2 + part * 0.001)
            entries.append(
                {
                    "is_p2p": False,
                    "process_group": ("1", "default"),
                    "collective_seq_id": step * parts + part,
                    "time_created_ns": int(at_s * 1e9),
                }
            )

    return flight_recorder.arrivals(entries)


def at_pace(number: int, arrivals: Mapping[str, Any]) -> dict[str, Any]:
    return {**with_progress(rank(number, IN_USER, 0.1)), "collectives": [], "arrivals": arrivals}


def late_by(late_s: float, steps: int = 8, **shape: Any) -> Snapshot:
    """Return what is seen of three ranks the last of which is late to each step."""
    return twice(
        *(at_pace(number, came([late_s * (number == 2)] * steps, **shape)) for number in range(3))
    )


@pytest.mark.parametrize(("late_s", "cause"), [(0.45, "straggler"), (0.005, None)])
def test_a_straggler_is_known_by_the_time_lost_to_it(late_s: float, cause: str | None) -> None:
    verdict = late_by(late_s).verdict
    assert verdict.cause == cause
    assert verdict.ranks == ((2,) if cause else ())


def test_a_straggler_is_known_among_hundreds_of_collectives_a_step() -> None:
    verdict = late_by(0.45, parts=250).verdict
    assert (verdict.cause, verdict.ranks) == ("straggler", (2,))


@pytest.mark.parametrize("late", [0, 2])
def test_a_straggler_is_known_whatever_its_hosts_clock_says(late: int) -> None:
    ranks = [at_pace(number, came([0.45 * (number == late)] * 8)) for number in range(3)]
    ranks[2]["arrivals"] = {
        "1": [(sequence, at_ns + 77_000_000_000) for sequence, at_ns in ranks[2]["arrivals"]["1"]]
    }
    verdict = twice(*ranks, actors={2: {"node_id": "n2"}}).verdict
    assert (verdict.cause, verdict.ranks) == ("straggler", (late,))


@pytest.mark.parametrize(
    "lateness_s",
    [
        pytest.param([0.0] * 40 + [0.08] * 8, id="a second of it, now"),
        pytest.param([0.08] * 30 + [0.0] * 30, id="while it caught up"),
        pytest.param([0.08] * 50 + [0.0] * 10, id="until two seconds ago"),
        pytest.param([0.0] * 50 + [0.08] * 18, id="for three seconds, now"),
        pytest.param([0.0] * 30 + [0.09] + [0.0] * 30, id="once"),
    ],
)
def test_late_for_a_while_makes_no_straggler(lateness_s: Sequence[float]) -> None:
    others = [0.0] * len(lateness_s)
    ranks = [
        at_pace(number, came(lateness_s if number == 2 else others, step_s=0.18))
        for number in range(3)
    ]
    assert twice(*ranks).findings == ()


def test_one_long_pause_makes_no_straggler() -> None:
    ranks = [at_pace(number, came([0.03 * (number == 2)] * 8)) for number in range(3)]
    paused = dict(ranks[2]["arrivals"]["1"]) | {12: int(9e9)}
    ranks[2]["arrivals"] = {"1": sorted(paused.items())}
    assert twice(*ranks).findings == ()


def test_a_straggler_is_known_in_quick_steps() -> None:
    """Late by 40 ms in each step of 100 ms: the newest hundred arrivals cover two seconds of it."""
    verdict = late_by(0.04, steps=150, step_s=0.1).verdict
    assert (verdict.cause, verdict.ranks) == ("straggler", (2,))


def test_a_straggler_is_known_over_several_samples_where_a_recorder_holds_a_moment() -> None:
    """Hundreds of collectives a step fill a recorder in a second."""
    arrivals = [came([0.04 * (number == 2)] * 120, step_s=0.1)["1"] for number in range(3)]
    last = None

    for until in range(30, 361, 30):
        newest = [{"1": own[max(0, until - 60) : until]} for own in arrivals]
        observation = look(*(at_pace(number, one) for number, one in enumerate(newest))).observation
        observation.taken_at = 100.0 + until / 30
        last = assemble(observation, earlier=last)

    assert last is not None
    assert (judge(last).verdict.cause, judge(last).verdict.ranks) == ("straggler", (2,))


NAN = {"skipped_steps": 6.0, "grad_norm": "inf", "loss": "nan", "weight": 0.1}
SKIPS = {"skipped_steps": 6.0, "grad_norm": "inf", "loss": 0.3, "weight": 0.1}
FINE = {"skipped_steps": 6.0, "grad_norm": 0.4, "loss": 0.3, "weight": 0.1}


@pytest.mark.parametrize(
    ("health", "cause"), [(NAN, "nonfinite_loss"), (SKIPS, "overflow_skips"), (FINE, None)]
)
def test_numbers_that_are_none(health: dict[str, Any], cause: str | None) -> None:
    ranks = [{**rank(number, IN_USER, 0.1), "health": FINE} for number in range(3)]
    ranks[1]["health"] = health
    snapshot = twice(*ranks)
    assert snapshot.verdict.cause == cause
    assert snapshot.verdict.ranks == ((1,) if cause else ())


@pytest.mark.parametrize(("used", "cause"), [(98, "memory_pressure"), (60, None)])
def test_memory_that_is_nearly_used_up(used: int, cause: str | None) -> None:
    memory = {"whose": "/sys/fs/cgroup/x", "limit_bytes": 100, "used_bytes": used, "oom_kills": 0}
    ranks = [with_progress(rank(number, IN_USER, 0.1)) for number in range(2)]
    ranks[1]["counters"]["memory"] = memory
    snapshot = twice(*ranks)
    assert (snapshot.verdict.cause, snapshot.verdict.ranks) == (cause, (1,) if cause else ())


# Runs that have ended


ACCOUNT = (
    "Started training worker group of size 2: \n"
    "- (ip=10.0.0.1, pid=100) world_rank=1, local_rank=1, node_rank=0\n"
    "- (ip=10.0.0.1, pid=101) world_rank=0, local_rank=0, node_rank=0"
)
PEER = "RuntimeError: Read error [127.0.0.1]:1: Connection reset by peer. GLHF!"
OWN = 'File "/app/train.py", line 25, in load_batch\n    raise KeyError("x")\nKeyError: \'x\''


def policy(*snippets: tuple[str, str]) -> str:
    blocks = "\n".join(f"[Rank {ranks} Error Snippet]:\n{text}" for ranks, text in snippets)
    return f"[FailurePolicy] RAISE\n  Source: worker group\nError: Training failed:\n{blocks}"


def post_mortem(
    *messages: str, exits: dict[str, ProcessExit] | None = None, words: Any = (), killed: Any = ()
) -> Snapshot:
    account = [{"at": float(number), "message": one} for number, one in enumerate(messages)]
    post_mortem = {
        "train_log": account,
        "last_words": {"w0": list(words)},
        "oom_killed": list(killed),
    }
    facts = look(
        "the actor is dead",
        "the actor is dead",
        actors={0: {"state": "DEAD"}, 1: {"state": "DEAD"}},
        job=job(is_dead=True),
        submission=Submission(status="FAILED", message="exit code 1"),
        looks={"n1": {"processes": {}, "post_mortem": post_mortem}},
        exits=exits or {},
    )
    return judge(assemble(facts.observation))


def ended(
    number: int, kind: str, at: float, detail: str = "connection error code 2"
) -> ProcessExit:
    return ProcessExit(
        worker_id=f"w{number}",
        node_id="n1",
        pid=100 + number,
        kind=kind,
        detail=detail,
        ended_at=at,
    )


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
    facts = post_mortem(policy(("1", OWN)), ACCOUNT)
    assert facts.findings == ()


def test_a_lost_node_takes_its_ranks_along() -> None:
    facts = look(
        rank(0, IN_USER, 0.1),
        "the actor is dead",
        actors={1: {"state": "DEAD", "node_id": "n2"}},
    )
    facts.observation.nodes.append(
        NodeHandle(node_id="n2", ip="10.0.0.2", hostname="host-b", alive=False, resources={})
    )
    snapshot = judge(assemble(facts.observation))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("failed", "node_lost")


def unanswered(ip: str) -> Unavailable:
    return Unavailable(reason="timeout", detail=f"no answer from {ip}:7000 in 1 s")


def test_a_node_that_does_not_answer_is_told_with_its_ranks() -> None:
    facts = look(waits(0), "its main thread did not answer", actors={1: {"node_id": "n2"}})
    facts.observation.nodes.append(
        NodeHandle(node_id="n2", ip="10.0.0.2", hostname="host-b", alive=True, resources={})
    )
    facts.observation.unreachable = {"n2": unanswered("10.0.0.2")}
    snapshot = judge(assemble(facts.observation))
    assert snapshot.verdict.cause == "network_unreachable"
    assert "host-b (10.0.0.2)" in snapshot.verdict.summary


def test_nodes_that_do_not_answer_are_told_together() -> None:
    silent = "its main thread did not answer"
    facts = look(waits(0), silent, silent, actors={1: {"node_id": "n2"}, 2: {"node_id": "n3"}})

    for number in (2, 3):
        ip = f"10.0.0.{number}"
        facts.observation.nodes.append(
            NodeHandle(node_id=f"n{number}", ip=ip, hostname=f"h{number}", alive=True, resources={})
        )
        facts.observation.unreachable[f"n{number}"] = unanswered(ip)

    [finding] = judge(assemble(facts.observation)).findings
    assert (finding.cause, finding.next_step) == ("network_unreachable", "ping 10.0.0.2")
    assert "2 nodes, h2 (10.0.0.2), h3 (10.0.0.3)," in finding.summary
    assert "the raylet of h3 (10.0.0.3): no answer from 10.0.0.3:7000 in 1 s" in finding.evidence


def joins(number: int, idle_s: float = 12) -> dict[str, Any]:
    """Return a rank that sets up a process group."""
    return with_progress(rank(number, (RUNNER, TEACH, INIT), idle_s))


def test_who_sleeps_while_others_make_a_group_is_to_blame() -> None:
    asleep = with_progress(rank(0, IN_USER, 12))
    snapshot = twice(asleep, joins(1), joins(2))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", "rank_blocked_in_user_code")
    assert snapshot.verdict.ranks == (0,)
    assert "ranks 1-2 are waiting for it" in snapshot.verdict.summary
    assert "ranks 1-2: in init_process_group, for up to 12.0 s" in snapshot.findings[0].evidence


def test_who_makes_a_group_while_others_train_has_diverged() -> None:
    snapshot = twice(waits(0), joins(1), waits(2))
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("hung", "rank_divergence")
    assert snapshot.verdict.ranks == (1,)


def test_who_comes_to_a_new_group_a_little_later_is_only_named() -> None:
    before = with_progress(rank(0, IN_USER, 0.1))
    now = with_progress(rank(0, IN_USER, 0.1), ran_s=5.9, cpu_s=10.9)
    snapshot = window((before, joins(1), joins(2)), (now, joins(1), joins(2)))
    [finding] = snapshot.findings
    assert (finding.cause, finding.severity, finding.ranks) == ("rendezvous_wait", "warning", (0,))
    assert finding.summary.endswith("rank 0 has not reached it.")


def test_ranks_that_dial_one_address_are_told_together() -> None:
    def dials(number: int) -> dict[str, Any]:
        one = rank(number, (RUNNER, INIT), 8)
        return with_progress(one, dials=["10.9.9.9:29500"])

    [finding] = [
        one
        for one in twice(rank(0, (RUNNER, INIT), 8), dials(1), dials(2)).findings
        if one.cause == "network_unreachable"
    ]
    assert finding.ranks == (1, 2)
    assert finding.summary == "Ranks 1-2 are connecting to 10.9.9.9:29500, and nothing answers."


def test_ranks_that_are_stopped_are_told_together() -> None:
    processes = {number: {"state": "stopped"} for number in (101, 102)}
    snapshot = twice(
        waits(0), stands(1, IN_USER), stands(2, IN_USER), looks={"n1": {"processes": processes}}
    )
    assert snapshot.verdict.ranks == (1, 2)
    assert snapshot.verdict.summary.startswith("Ranks 1-2 are stopped")
    assert snapshot.findings[0].next_step == "kill -CONT 101 102   (on h)"


def test_ranks_that_a_debugger_holds_are_told_by_debugger() -> None:
    processes = {number: {"state": "stopped"} for number in (101, 102)}
    held = [stands(number, IN_USER, tracer=4242 + number // 2) for number in (1, 2)]
    findings = twice(waits(0), *held, looks={"n1": {"processes": processes}}).findings
    assert [(one.ranks, one.next_step) for one in findings] == [
        ((1,), "ps -fp 4242   (on h)"),
        ((2,), "ps -fp 4243   (on h)"),
    ]


def test_facts_know_one_earlier_look_only() -> None:
    first: AnalysisInput = look(rank(0, IN_USER, 0.1))
    second = assemble(first.observation, earlier=first)
    third = assemble(first.observation, earlier=second)
    assert third.earlier is not None
    assert third.earlier.earlier is None


@pytest.mark.parametrize(("waited_s", "cause"), [(5.0, None), (9.0, "gil_held")])
def test_who_holds_its_gil_is_told_by_that_and_not_before(
    waited_s: float, cause: str | None
) -> None:
    def held(at: float) -> AnalysisInput:
        facts = look(waits(0, waited_s), stands(1, IN_USER, waited_s), waits(2, waited_s))
        silent = facts.members[1]
        one = msgspec.structs.replace(
            silent,
            silence=Unavailable(reason="timeout", detail="its main thread did not answer in 0.8 s"),
            seen=msgspec.structs.replace(silent.seen, gil_keeper=silent.training),
        )
        members = (facts.members[0], one, facts.members[2])
        snapshot = msgspec.structs.replace(
            facts.snapshot, taken_at=at, workers=tuple(each.worker for each in members)
        )
        return msgspec.structs.replace(facts, snapshot=snapshot, members=members)

    snapshot = judge(msgspec.structs.replace(held(101.0), earlier=held(100.0)))
    assert snapshot.verdict.cause == cause
    assert bool(snapshot.findings) == bool(cause)


# Runs that Ray Train starts again


def retry(*snippets: tuple[str, str], decision: str = "RETRY") -> str:
    return policy(*snippets).replace("RAISE", decision, 1)


def again(*log: tuple[float, str], at: float, workers: str = "DEAD") -> Snapshot:
    """Return the verdict at a time on a run with this log, whose workers are in this state."""
    account = [{"at": seconds, "message": message} for seconds, message in log]
    told = {"processes": {}, "post_mortem": {"train_log": account}}
    if workers == "DEAD":
        ranks: tuple[Any, ...] = ("the actor is dead", "the actor is dead")
    else:
        ranks = (rank(0, IN_USER, 0.1), rank(1, IN_USER, 0.1))

    changes = {number: {"state": workers} for number in range(2)}
    facts = look(*ranks, actors=changes, looks={"n1": told})
    facts.observation.taken_at = at
    return judge(assemble(facts.observation))


def parse(value: str) -> tuple[str, str]:
    frame = 'File "/app/train.py", line 12, in parse_record\n    return int(x)\n'
    stdlib = 'File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode\n    raise\n'
    return "1", f"{frame}{stdlib}ValueError: {value}"


LOOP = [
    entry
    for number in range(4)
    for entry in (
        (100.0 + 30 * number, ACCOUNT),
        (109.0 + 30 * number, retry(("0", PEER), parse(str(number)))),
    )
]


@pytest.mark.parametrize("workers", ["DEAD", "ALIVE"])
def test_a_run_that_fails_of_the_same_each_time_is_in_a_loop(workers: str) -> None:
    log = LOOP if workers == "DEAD" else [*LOOP, (220.0, ACCOUNT)]
    snapshot = again(*log, at=225.0, workers=workers)
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("degraded", "restart_loop")
    assert snapshot.verdict.ranks == (1,)
    assert snapshot.verdict.summary == (
        "The run is at attempt 5; the last 4 failed within 9.0 s in parse_record (train.py:12) on "
        "rank 1: ValueError: 3"
    )


def test_an_attempt_that_has_outlived_those_before_it_has_left_the_loop() -> None:
    assert again(*LOOP, (220.0, ACCOUNT), at=400.0, workers="ALIVE").findings == ()


def test_failures_that_differ_are_no_loop() -> None:
    other = ("1", 'File "/app/train.py", line 90, in save\n    x\nOSError: full')
    log = [*LOOP[:6], (190.0, ACCOUNT), (199.0, retry(other))]
    assert again(*log, at=205.0).findings == ()


def test_a_run_that_ray_train_retries_has_not_failed() -> None:
    snapshot = again(*LOOP[:2], at=111.0)
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("starting", None)
    assert snapshot.verdict.summary == (
        "Ray Train starts attempt 2; the last one failed: "
        "RuntimeError: Read error [127.0.0.1]:1: Connection reset by peer. GLHF!"
    )


def test_a_run_that_ray_train_gives_up_has_failed_after_so_many_attempts() -> None:
    log = [*LOOP, (220.0, ACCOUNT), (229.0, retry(parse("4"), decision="RAISE"))]
    snapshot = again(*log, at=231.0)
    assert (snapshot.verdict.state, snapshot.verdict.cause) == ("failed", "worker_dead")
    assert "train.py:12" in snapshot.verdict.summary
    assert "Ray Train gave up after 5 attempts" in snapshot.findings[0].evidence


# Last words


def test_an_interface_that_is_not_there_is_told_with_its_variable() -> None:
    text = "RuntimeError: [enforce fail at device.cc:84] ifa != nullptr. Unable to find address for: ib9"
    told = {
        "processes": {},
        "post_mortem": {
            "train_log": [{"at": 1.0, "message": policy(("0,1", text))}],
            "interfaces": ["eth0", "lo"],
        },
    }
    facts = look(
        "the actor is dead",
        actors={0: {"state": "DEAD"}},
        job=job(is_dead=True, runtime_env_vars={"GLOO_SOCKET_IFNAME": "ib9", "FOO": "ib9"}),
        submission=Submission(status="FAILED", message="exit code 1"),
        looks={"n1": told},
    )
    snapshot = judge(assemble(facts.observation))
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
    facts = look(
        "the actor is dead",
        rank(1, IN_USER, 0.1),
        actors={0: {"state": "DEAD"}},
        exits={"w0": ended(0, "SYSTEM_ERROR", 99.0)},
    )
    facts.observation.taken_at = 100.0
    facts.observation.controller = ControllerReport(
        state="RUNNING", failures=failures, max_failures=most
    )
    snapshot = judge(assemble(facts.observation))
    assert snapshot.verdict.state == state

    facts.observation.taken_at = 150.0  # the controller should have told by now
    assert judge(assemble(facts.observation)).verdict.state == "failed"
