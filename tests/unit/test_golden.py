"""Stacks recorded from real jobs (`tests/golden/record.py`) are read right."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsray_inspect.agent.model import Frame, Phase
from dsray_inspect.agent.stacks.merge import Entry, Folded, fold, group, prefix_tree
from dsray_inspect.agent.stacks.phase import phase_of, training_thread
from dsray_inspect.agent.stacks.pyspy import labelled_threads
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.stacks.thread import Thread

PYSPY = Path(__file__).parents[1] / "golden" / "pyspy"
SCRIPT = "/home/user/train.py"
# Recorded scene, phase, the user's function, whether the rank waits in a collective.
EXPECTED: tuple[tuple[str, Phase, str | None, bool | None], ...] = (
    *(
        row
        for stage in ("zero1", "zero2", "zero3")
        for row in (
            (f"{stage}-deepspeed_init", "deepspeed_init", "make_engine", None),
            (f"{stage}-data", "data", "__getitem__", False),
            (f"{stage}-user", "user", "mix", False),
            (f"{stage}-forward", "forward", "forward", False),
            (f"{stage}-backward", "backward", "teach", False),
            (f"{stage}-grad_reduce", "grad_reduce", "teach", None),
            (f"{stage}-optimizer_step", "optimizer_step", "teach", False),
            (f"{stage}-checkpoint", "checkpoint", "teach", None),
        )
    ),
    ("zero0-grad_reduce", "grad_reduce", "teach", True),
    ("zero3-zero_gather", "zero_gather", "forward", None),
    ("zero3-hang-waiting", "zero_gather", "teach", True),
    ("hang-waiting", "grad_reduce", "teach", True),
    ("hang-waiting-native", "grad_reduce", "teach", True),
    ("hang-culprit", "user", "hold", False),
    ("hang-culprit-locals", "user", "hold", False),
    ("own-backward", "backward", "hold", False),
    ("report", "report", "teach", False),
    ("barrier", "collective", "teach", True),
    ("loader-waits", "data", "teach", False),
    ("loader-child", "data", "hold", False),
    ("op_compile-lock", "op_compile", "make_engine", False),
    ("new_group", "init_process_group", "make_engine", False),
    ("init_process_group", "init_process_group", "late", False),
    ("torch-forward", "forward", "forward", False),
    ("torch-backward", "backward", "backward", False),
    ("torch-optimizer_step", "optimizer_step", "step", False),
    ("v1-waiting", "grad_reduce", "teach", True),
    ("v1-culprit", "user", "hold", False),
)


def read(scene: str) -> list[Thread]:
    return list(labelled_threads((PYSPY / f"{scene}.json").read_bytes(), StackTable()))


def stack(scene: str) -> StackInfo:
    thread = training_thread(read(scene))
    assert thread is not None
    return thread.stack


def test_every_recording_is_looked_at() -> None:
    others = {"hang-driver", "hang-controller", "controller-resources"}
    assert {path.stem for path in PYSPY.glob("*.json")} == others | {row[0] for row in EXPECTED}


@pytest.mark.parametrize(("scene", "phase", "function", "waits"), EXPECTED, ids=lambda v: str(v))
def test_rank(scene: str, phase: Phase, function: str | None, waits: bool | None) -> None:
    assert phase_of(read(scene)) == phase
    found = stack(scene).user_function
    assert (found.name if found else None) == function
    assert found is None or (found.file == SCRIPT and found.line > 0)
    if waits is not None:
        assert stack(scene).in_collective is waits


@pytest.mark.parametrize("path", sorted(PYSPY.glob("*.json")), ids=lambda path: path.stem)
def test_layers(path: Path) -> None:
    for frame in (frame for thread in read(path.stem) for frame in thread.frames):
        top = frame.file.partition("site-packages/")[2].partition("/")[0]
        if frame.layer == "native":
            assert frame.file.endswith((".c", ".h", "python3.11")) or ".so" in frame.file
        elif top in ("ray", "deepspeed", "torch") and "/thirdparty_files/" not in frame.file:
            assert frame.layer in {top, "ray_train", "collective"}
        elif top:
            assert frame.layer == "library"
        else:
            assert (frame.layer == "user") is (frame.file == SCRIPT)
            assert frame.layer in ("user", "python")


def test_driver_and_controller_have_no_training_thread_of_ray_train() -> None:
    driver = next(thread for thread in read("hang-driver") if thread.name == "MainThread")
    assert [f.layer for f in driver.frames[:3]] == ["user", "user", "ray_train"]
    assert driver.frames[2].name == "fit"
    names = {f.name for thread in read("controller-resources") for f in thread.frames}
    assert "_start_worker_group" in names


def test_hang_in_one_tree() -> None:
    entries = []
    for rank, scene in enumerate(("hang-waiting", "hang-culprit")):
        thread = training_thread(read(scene))
        assert thread is not None
        entries.append(Entry(rank, "worker", thread.pid, thread))

    (root,) = prefix_tree(group(entries))
    assert root.ranks == (0, 1)
    waiting, culprit = root.branches
    assert [f.name for f in culprit.frames] == ["teach", "mix", "hold"]
    shown = [
        item for item in fold(waiting.frames) if not isinstance(item, Folded) or not item.plumbing
    ]
    names = [item.name if isinstance(item, Frame) else f"({item.count})" for item in shown]
    assert names == ["teach", "backward", "(14)", "all_reduce"]


def test_locals_are_there_when_asked_for() -> None:
    (hold,) = (frame for frame in stack("hang-culprit-locals").frames if frame.name == "hold")
    assert {local.name: local.value for local in hold.locals or ()}["place"] == '"user"'


def test_a_forked_loader_is_not_the_rank_though_its_thread_has_the_same_name() -> None:
    rank, child = read("loader-waits"), read("loader-child")
    forked = next(thread for thread in child if thread.name.startswith("TrainingThread("))
    assert {"_worker_loop", "hold"} <= {frame.name for frame in forked.frames}
    assert training_thread([*rank, *child]) == training_thread(rank)
    assert phase_of([*rank, *child]) == "data"
