"""Merged stacks lose no rank and no frame."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.formats import collapsed
from dsray_inspect.agent.model import Frame, Layer, Local, Role, StackGroup
from dsray_inspect.agent.stacks.layers import label
from dsray_inspect.agent.stacks.merge import Branch, Entry, Folded, fold, group, prefix_tree
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.thread import Thread

SITE = "/opt/venv/lib/python3.11/site-packages"
FILES = st.sampled_from(
    [
        "/home/user/train.py",
        "/usr/lib/python3.11/threading.py",
        f"{SITE}/deepspeed/runtime/engine.py",
        f"{SITE}/deepspeed/utils/nvtx.py",
        f"{SITE}/torch/distributed/c10d_logger.py",
        f"{SITE}/torch/distributed/distributed_c10d.py",
        f"{SITE}/numpy/x.py",
        "/usr/lib/libc.so.6",
    ]
)
NAMES = st.sampled_from(["run", "step", "f"])
FRAMES = st.builds(Frame, name=NAMES, file=FILES, line=st.integers(1, 2))
STACKS = st.lists(FRAMES, max_size=8).map(label)
ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.sampled_from(["worker", "child"]),
        st.sampled_from(["MainThread", "TrainingThread(f)"]),
        STACKS,
    ),
    max_size=30,
    unique_by=lambda entry: entry[:3],
)


def entry(rank: int | None, *frames: Frame, role: Role = "worker", name: str = "T") -> Entry:
    pid = None if rank is None else 100 + rank
    return Entry(rank, role, pid, Thread(name=name, tid=1, stack=StackInfo(frames)))


def frame(
    name: str, file: str = "/home/user/train.py", layer: Layer = "user", line: int = 1
) -> Frame:
    return Frame(name=name, file=file, line=line, layer=layer)


def test_equal_stacks_stand_once_the_most_common_first() -> None:
    teach, load, main = frame("teach"), frame("load"), frame("main")
    assert group(
        [
            entry(2, teach),
            entry(None, main, role="driver"),
            entry(1, teach, load),
            entry(0, teach),
        ]
    ) == (
        StackGroup(ranks=(0, 2), role="worker", thread="T", frames=(teach,), pids=(100, 102)),
        StackGroup(ranks=(1,), role="worker", thread="T", frames=(teach, load), pids=(101,)),
        StackGroup(ranks=(), role="driver", thread="T", frames=(main,), pids=()),
    )


def test_line_and_locals_tell_stacks_apart_but_qualified_names_do_not() -> None:
    plain = frame("f")
    read_inside = msgspec.structs.replace(plain, qualname="A.f")
    with_locals = msgspec.structs.replace(plain, locals=(Local(name="x", value="1"),))
    assert len(group([entry(0, plain), entry(1, read_inside)])) == 1
    assert len(group([entry(0, plain), entry(1, with_locals)])) == 2
    assert len(group([entry(0, plain), entry(1, frame("f", line=2))])) == 2


@given(ENTRIES)
def test_every_rank_is_in_exactly_one_group_per_thread(
    made: list[tuple[int, Role, str, tuple[Frame, ...]]],
) -> None:
    entries = [
        Entry(rank, role, None, Thread(name=name, tid=None, stack=StackInfo(frames)))
        for rank, role, name, frames in made
    ]
    groups = group(entries)
    found = Counter((rank, g.role, g.thread, g.frames) for g in groups for rank in g.ranks)
    assert found == Counter((e.rank, e.role, e.thread.name, e.thread.frames) for e in entries)
    assert groups == group(reversed(entries))
    sizes = [len(g.ranks) for g in groups]
    assert sizes == sorted(sizes, reverse=True)


def stacks_of(branches: Iterable[Branch], above: tuple[Frame, ...] = ()) -> Counter[object]:
    found: Counter[object] = Counter()
    for branch in branches:
        stack = (*above, *branch.frames)
        found.update((rank, stack) for rank in branch.ends)
        found += stacks_of(branch.branches, stack)
    return found


@given(st.lists(STACKS.filter(bool), max_size=12))
def test_a_tree_holds_the_same_stacks(stacks: list[tuple[Frame, ...]]) -> None:
    entries = [entry(rank, *frames) for rank, frames in enumerate(stacks)]
    tree = prefix_tree(group(entries))
    assert stacks_of(tree) == Counter(enumerate(stacks))
    beginnings = [(b.frames[0].name, b.frames[0].file, b.frames[0].line) for b in tree]
    assert len(set(beginnings)) == len(beginnings)


def test_a_tree_parts_where_stacks_part() -> None:
    run, teach, load, step = frame("run"), frame("teach"), frame("load"), frame("step")
    (root,) = prefix_tree(
        group([entry(0, run, teach, load), entry(1, run, teach, step), entry(2, run, teach, step)])
    )
    assert (root.ranks, root.frames, root.ends) == ((0, 1, 2), (run, teach), ())
    assert [(b.ranks, b.frames) for b in root.branches] == [((1, 2), (step,)), ((0,), (load,))]


def test_a_tree_of_endless_partings_ends() -> None:
    entries = [entry(r, *(frame("f"),) * r, frame("g")) for r in range(1, 400)]
    tree = prefix_tree(group(entries))
    assert stacks_of(tree) == Counter((e.rank, e.thread.frames) for e in entries)


@given(STACKS)
def test_folding_loses_nothing(frames: tuple[Frame, ...]) -> None:
    unfolded: list[Frame] = []
    for item in fold(frames):
        unfolded += item.frames if isinstance(item, Folded) else [item]
    assert tuple(unfolded) == frames
    folded = [f for item in fold(frames) if isinstance(item, Folded) for f in item.frames]
    assert not any(f.layer == "user" for f in folded)


def test_a_reader_sees_the_user_the_first_call_and_the_collective() -> None:
    engine = f"{SITE}/deepspeed/runtime/engine.py"
    stack = label(
        [
            frame("_bootstrap", "/usr/lib/python3.11/threading.py"),
            frame("run", "/usr/lib/python3.11/threading.py"),
            frame("train_fn", f"{SITE}/ray/train/v2/_internal/util.py"),
            frame("teach"),
            frame("wrapped_fn", f"{SITE}/deepspeed/utils/nvtx.py"),
            frame("backward", engine),
            frame("_backward_epilogue", engine),
            frame("wrapped_fn", f"{SITE}/deepspeed/utils/nvtx.py"),
            frame("allreduce_gradients", engine),
            frame("allreduce_bucket", engine),
            frame("log_wrapper", f"{SITE}/deepspeed/comm/comm.py"),
            frame("wrapper", f"{SITE}/torch/distributed/c10d_logger.py"),
            frame("all_reduce", f"{SITE}/torch/distributed/distributed_c10d.py"),
        ]
    )
    assert [
        (item.count, item.plumbing) if isinstance(item, Folded) else item.name
        for item in fold(stack)
    ] == [(3, True), "teach", (1, True), "backward", (4, False), (2, True), "all_reduce"]


def test_collapsed() -> None:
    teach = frame("teach", line=61)
    reduce = frame("all;reduce", f"{SITE}/torch/distributed/distributed_c10d.py", "collective")
    groups = group([entry(0, teach, reduce), entry(1, teach, reduce), entry(None, role="driver")])
    stack = "teach (train.py:61);all,reduce (torch/distributed/distributed_c10d.py:1)"
    assert list(collapsed.lines(groups)) == [f"rank 0;{stack} 1", f"rank 1;{stack} 1", "driver 1"]
    assert next(collapsed.lines(groups, threads=True)) == f"rank 0;T;{stack} 1"


def test_ten_thousand_ranks_take_about_a_second() -> None:
    entries = [
        entry(r, *(frame(f"f{n}", line=n + (r % 40 == n)) for n in range(30)))
        for r in range(10_000)
    ]
    start = time.process_time()
    prefix_tree(group(entries))
    assert time.process_time() - start < 3
