"""Sentences: every kind of facts has its words, and numbers agree."""

from __future__ import annotations

import msgspec
import pytest

from dsray_inspect.agent.assemble.snapshot import assemble
from dsray_inspect.agent.detectors.config_drift import ConfigDrift, KeyDifference, WorldOfOne
from dsray_inspect.agent.detectors.detection import Detection, Facts, Place
from dsray_inspect.agent.detectors.device_conflict import NoDevice, SharedDevice, WrongDevices
from dsray_inspect.agent.detectors.network import Dialer, SilentNode, SilentNodes, UnansweredDial
from dsray_inspect.agent.detectors.numerics import SkippedSteps
from dsray_inspect.agent.detectors.op_compile import OpCompile
from dsray_inspect.agent.detectors.process_exits import (
    DeadProcess,
    NodesLost,
    ProcessEnded,
    ProcessesGone,
)
from dsray_inspect.agent.detectors.rendezvous import MissingRanks
from dsray_inspect.agent.detectors.stopped_and_gil import GilHeld, GilHolder
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.model import Cause
from dsray_inspect.agent.text.command_hint import CommandHint
from dsray_inspect.agent.text.findings.wording import finding_of, load_wordings, words
from dsray_inspect.agent.text.humanize import agree, count, duration, name_ranks, sentence, size
from dsray_inspect.agent.text.outlook import outlook_sentence
from dsray_inspect.agent.text.report import report
from dsray_inspect.agent.text.why import why_text
from dsray_inspect.agent.unavailable import Reason, Unavailable
from tests.unit.samples import sample_of
from tests.unit.test_text import load

HINT = CommandHint(words=("j1",))
ENDED = ProcessEnded(
    submission_id="j1",
    rank=0,
    pid=8273,
    hostname="vm",
    peers=2,
    kind="SYSTEM_ERROR",
    detail="connection error code 2",
    exit_code=None,
    was_killed_for_memory=False,
    is_in_kernel_log=False,
    stderr=(),
)


def summary(facts: Facts, *ranks: int, cause: Cause = "unknown") -> str:
    detection = Detection(cause=cause, severity="error", ranks=ranks, facts=facts)
    return finding_of(detection, HINT).summary


KINDS: list[type[Facts]] = sorted(Facts.__subclasses__(), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", KINDS)
def test_all_facts_have_words(kind: type[Facts]) -> None:
    load_wordings()
    is_outlook = kind.__module__.endswith("outlook")
    dispatched = (outlook_sentence if is_outlook else words).dispatch(kind)
    assert dispatched is not words.dispatch(object)
    assert dispatched is not words.dispatch(Facts)
    assert dispatched is not outlook_sentence.dispatch(Facts)


def drift(*odd: int) -> ConfigDrift:
    differences = (KeyDifference(key="gradient_clipping", most="1.0", odd="0.5"),)
    return ConfigDrift(odd=odd, first=odd[0], differences=differences)


def test_one_rank_runs_another_config_and_several_run_one() -> None:
    assert summary(drift(1), 1) == (
        "Rank 1 runs a different DeepSpeed config: "
        "gradient_clipping: 1.0 on most ranks, 0.5 on rank 1."
    )
    assert summary(drift(1, 3), 1, 3).startswith("Ranks 1, 3 run a different DeepSpeed config: ")


def test_one_rank_that_waits_for_a_compile_is_waiting() -> None:
    alone = OpCompile(compilers=((1, ("ninja",)),), waiting=(0,))
    assert summary(alone, 1) == "Rank 1 is compiling a DeepSpeed op; rank 0 is waiting."
    several = OpCompile(compilers=((1, ("ninja",)),), waiting=(0, 2))
    assert summary(several, 1).endswith("; ranks 0, 2 are waiting.")


def test_a_rank_beyond_its_devices_shares_none() -> None:
    beyond = (NoDevice(rank=2, local_rank=2, visible="0,1"),)
    assert summary(WrongDevices(shared=(), beyond=beyond), 2) == (
        "Rank 2 has a LOCAL_RANK beyond its CUDA_VISIBLE_DEVICES."
    )
    shared = (SharedDevice(device="0", ranks=(0, 1)),)
    assert summary(WrongDevices(shared=shared, beyond=()), 0, 1) == ("Ranks 0-1 use one GPU (0).")
    assert summary(WrongDevices(shared=shared, beyond=beyond), 0, 1, 2) == (
        "Ranks 0-1 use one GPU (0); rank 2 has a LOCAL_RANK beyond its CUDA_VISIBLE_DEVICES."
    )


def test_several_processes_are_dead() -> None:
    gone = ProcessesGone(submission_id=None, processes=(DeadProcess(pid=7, death_cause=""),))
    assert summary(gone, 1) == "The process of rank 1 is dead."
    assert summary(gone, 0, 1) == "The processes of ranks 0-1 are dead."


def test_why_says_that_a_second_sample_was_not_asked_for() -> None:
    told = explain((load("pending"),))
    assert told.sure == "not asked"
    assert "  sure      not asked: one sample is enough for it" in why_text(told).split("\n")


@pytest.mark.parametrize(
    ("change", "cause", "said"),
    [
        ({}, "worker_dead", "died without an error message; the other ranks failed as a result."),
        ({"stderr": ("SIGSEGV",)}, "worker_dead", "died; the other ranks failed as a result."),
        ({"exit_code": 3, "peers": 1}, "worker_dead", "exited with code 3; the other rank failed as a result."),
        ({"peers": 0}, "worker_oom", "ran out of memory."),
        ({"was_killed_for_memory": True, "peers": 0}, "worker_oom", "was killed because memory ran out."),
        (
            {},
            "collective_mismatch",
            (
                "aborted on a collective whose size differs from its peers'; "
                "the other ranks failed as a result."
            ),
        ),
    ],
)  # fmt: skip
def test_how_a_process_ended(change: dict[str, object], cause: Cause, said: str) -> None:
    ended = msgspec.structs.replace(ENDED, **change)
    assert summary(ended, 0, cause=cause) == f"Rank 0 (pid 8273 on vm) {said}"


@pytest.mark.parametrize(
    ("reason", "said"), [("disabled", "was not asked"), ("timeout", "did not answer")]
)
def test_a_silent_controller_was_asked_or_not(reason: Reason, said: str) -> None:
    sample = sample_of()
    sample.observation.controller = Unavailable(reason=reason, detail="no answer")
    assert said in report(assemble(sample.observation).snapshot)


def test_numbers_agree() -> None:
    place = Place(name="match", file="re.py", line=3)
    holders = tuple(GilHolder(thread="MainThread", silence="busy") for _ in range(2))
    assert summary(GilHeld(place=place, holders=holders[:1]), 1) == (
        "Rank 1 holds its GIL in match (re.py:3): nothing else in the process can run."
    )
    assert summary(GilHeld(place=place, holders=holders), 1, 2) == (
        "Ranks 1-2 hold their GILs in match (re.py:3): nothing else in these processes can run."
    )
    assert summary(MissingRanks(inside=(1,), phases=()), 0, 2) == (
        "Rank 1 is waiting in init_process_group; ranks 0, 2 have not reached it."
    )
    node = SilentNode(hostname="b", ip="10.0.0.2", why="no answer")
    assert summary(SilentNodes(nodes=(node,), silent_ranks=()), 1) == (
        "b (10.0.0.2), which runs rank 1, cannot be reached: no answer."
    )
    dialer = Dialer(rank=1, pid=7, hostname="a", master=None)
    assert summary(UnansweredDial(addresses=("10.9.9.9:1",), dialers=(dialer,)), 1) == (
        "Rank 1 is connecting to 10.9.9.9:1, and nothing answers."
    )
    assert summary(NodesLost(hostnames=("a", "b"), node_ids=()), 1, 2) == (
        "Nodes a, b are gone, and ranks 1-2 with them."
    )
    engine = WorldOfOne(
        world_size=4, train_batch_size=8, micro_batch_size=8, gradient_accumulation_steps=1
    )
    assert summary(engine, 0).endswith("it accumulates 1 micro batch per step.")


def test_skipped_steps_are_told_of_all_steps_where_these_are_known() -> None:
    assert summary(SkippedSteps(skipped=12, step=40, ranks_read=()), 0) == (
        "12 of 40 steps, including the latest, were skipped because of gradient overflow."
    )
    assert summary(SkippedSteps(skipped=12, step=None, ranks_read=()), 0).startswith("12 steps, ")


def test_short_forms() -> None:
    assert [duration(seconds) for seconds in (0.0481, 3.21, 252, 7500)] == [
        "48 ms",
        "3.2 s",
        "4 min 12 s",
        "2 h 5 min",
    ]
    assert [size(number) for number in (4, 66_560, 3 << 29)] == ["4 B", "65.0 KiB", "1.5 GiB"]
    assert (agree([1], "is", "are"), agree(2, "is", "are")) == ("is", "are")
    assert (count(1, "rank"), count(0, "rank")) == ("1 rank", "0 ranks")
    assert sentence("ranks 0, 2 on Host") == "Ranks 0, 2 on Host"
    assert name_ranks([]) == "a rank"
    assert name_ranks(range(0, 40, 2)) == "ranks 0, 2, 4, 6, 8, 10, 12, 14 … (20 ranks)"


def test_a_suggested_command_names_the_job_and_the_first_ranks() -> None:
    assert HINT.line("stacks", range(9), ("--locals",)) == (
        "dsray-inspect stacks j1 --rank 0 --rank 1 --rank 2 --rank 3 --locals"
    )
