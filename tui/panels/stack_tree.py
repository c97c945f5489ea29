"""The tree of all stacks, from the driver through the controller to the ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import partial

from dsray_inspect.agent.model import Frame, Role, Snapshot, StackGroup
from dsray_inspect.agent.stacks.merge import Branch, Folded, fold, prefix_tree
from dsray_inspect.agent.text.humanize import compact, name_ranks
from dsray_inspect.agent.text.report import controller_doing, driver_doing
from dsray_inspect.agent.text.stacks import called, only_plumbing, telling_first, unseen
from dsray_inspect.tui.drawing import LAYER_STYLES, drawn_frame, function_name
from dsray_inspect.tui.rows import Row, StyleName, blank, row
from dsray_inspect.tui.targets import FoldTarget, RankTarget, Target


class StackTree:
    """Makes the rows of the tree.

    Args:
        snapshot: The snapshot on the screen.
        toggled: The keys of what the user has folded or unfolded.
        shows_all_frames: Whether uninteresting frames are shown too.
    """

    def __init__(self, snapshot: Snapshot, toggled: Set[str], *, shows_all_frames: bool) -> None:
        self._snapshot = snapshot
        self._toggled = toggled
        self._shows_all_frames = shows_all_frames
        self._hosts = {node.ip: node.hostname for node in snapshot.nodes}
        self._actor_ids = {worker.rank: worker.actor_id for worker in snapshot.workers}

    def rows(self) -> list[Row]:
        rows = [*self._driver(), *self._controller(), *self._workers()]
        missing = [
            row(f"unseen {number}", (f" ? {text}", "warning"))
            for number, text in enumerate(unseen(self._snapshot))
        ]
        return [*rows, *([blank()] if missing else []), *missing]

    def _groups(self, *roles: Role) -> list[StackGroup]:
        return [group for group in self._snapshot.stacks.groups if group.role in roles]

    def _is_open(self, key: str, *, at_first: bool) -> bool:
        return at_first != (key in self._toggled)

    # Driver and controller

    def _driver(self) -> Iterator[Row]:
        driver = self._snapshot.driver

        if driver is not None:
            doing = driver_doing(self._snapshot, driver)
            yield from self._process("driver", driver.node_ip, driver.pid, doing, " ")

    def _controller(self) -> Iterator[Row]:
        controller = self._snapshot.controller

        if controller is not None:
            doing = controller_doing(controller)
            ip, pid = controller.node_ip, controller.pid
            yield from self._process("controller", ip, pid, doing, " └ ")

    def _process(self, role: Role, ip: str, pid: int, doing: str, lead: str) -> Iterator[Row]:
        groups = [group for group in self._groups(role) if group.frames]
        is_open = self._is_open(role, at_first=self._shows_all_frames)
        mark = ("▾ " if is_open else "▸ ") if groups else "  "
        yield row(
            role,
            (lead + mark, "dim"),
            (f"{role}  ", "bold"),
            (f"{self._hosts.get(ip, ip)} pid {pid}  ", "dim"),
            (doing, ""),
            target=FoldTarget(role) if groups else None,
        )
        indent = " " * len(lead) + "│ "

        for group in groups if is_open else ():
            branch = Branch(ranks=(), pids=group.pids, frames=group.frames, idle_s=group.idle_s)
            yield from self._frames(branch, indent, indent, role)

    # Ranks

    def _workers(self) -> Iterator[Row]:
        groups = self._groups("worker", "child")
        threads = {(group.role, group.thread): None for group in groups}

        in_order = sorted(threads, key=telling_first)

        for role, thread in in_order:
            own = [group for group in groups if (group.role, group.thread) == (role, thread)]
            ranks = sorted({rank for group in own for rank in group.ranks})
            is_last = (role, thread) == in_order[-1]
            key = f"{role}/{thread}"
            is_open = self._is_open(key, at_first=True)
            whose = "child processes of " if role == "child" else ""
            heading = row(
                key,
                (f"   {'└' if is_last else '├'} {'▾' if is_open else '▸'} ", "dim"),
                (f"{whose}{name_ranks(ranks)}  ", "bold"),
                (called(thread), "dim"),
                target=FoldTarget(key),
            )
            yield heading._replace(ranks=tuple(ranks))

            if is_open:
                indent = "     " if is_last else "   │ "
                yield from self._branches(prefix_tree(own), indent, thread)

        if not groups:
            yield row("", ("   └ no stack of a rank was read", "dim"))

    def _branches(self, branches: Sequence[Branch], indent: str, path: str) -> Iterator[Row]:
        for number, branch in enumerate(branches):
            if branch.branches and not self._shows_all_frames and only_plumbing(branch.frames):
                yield from self._branches(branch.branches, indent, path)
                continue

            is_last = number == len(branches) - 1
            head = branch.frames[0]
            key = f"{path}/{head.name}:{head.line}"
            label = f"[{compact(branch.ranks)}] " if branch.ranks else ""
            is_open = self._is_open(key, at_first=True)
            below = f"{indent}{' ' if is_last else '│'} "
            first = f"{indent}{'└' if is_last else '├'} {'▾' if is_open else '▸'} {label}"

            if is_open:
                rest = f"{below}  " + ("" if branch.branches else " " * len(label))
                yield from self._frames(branch, first, rest, key)
                yield from self._branches(branch.branches, below, key)
            else:
                yield self._folded_branch(branch, first, key)

    def _folded_branch(self, branch: Branch, first: str, key: str) -> Row:
        deepest = branch
        count = len(branch.frames)

        while deepest.branches:
            deepest = deepest.branches[0]
            count += len(deepest.frames)

        folded = row(
            f"{key}#0",
            (first, "dim"),
            (f"{branch.frames[0].name} → {deepest.frames[-1].name}", "bold"),
            (f"   {count} frames", "dim"),
            target=FoldTarget(key),
        )
        return folded._replace(ranks=branch.ranks)

    # Frames

    def _frames(self, branch: Branch, first: str, rest: str, key: str) -> Iterator[Row]:
        """Yield a row for each frame, and one for each run of uninteresting frames."""
        shown = self._shown_frames(branch.frames, key)

        for number, (frame, folded) in enumerate(shown):
            lead = first if number == 0 else rest
            row_key = f"{key}#{number}"

            if folded:
                text = f"…{folded} frame{'s' if folded > 1 else ''} of {frame.layer}"
                target: Target = FoldTarget(_run_key(key, frame))
                run = row(row_key, (lead, "dim"), (text, "dim"), target=target)
                yield run._replace(ranks=branch.ranks)
                continue

            is_leaf = number == len(shown) - 1 and not branch.branches
            target = FoldTarget(key) if number == 0 else None

            if is_leaf and branch.ranks and branch.ranks[0] in self._actor_ids:
                target = RankTarget(self._actor_ids[branch.ranks[0]])

            name = function_name(frame)
            style: StyleName = LAYER_STYLES.get(
                frame.layer, "dim" if frame.layer == "python" else ""
            )
            idle_s = branch.idle_s if is_leaf else None
            draw = partial(drawn_frame, lead, name, frame, style, idle_s)
            text = f"{name} {frame.file}:{frame.line} {frame.layer}"
            yield Row(row_key, draw, target, text, ranks=branch.ranks)

    def _shown_frames(self, frames: Sequence[Frame], key: str) -> list[tuple[Frame, int]]:
        """Return the frames to show; with a number: the first frame of a run of so many."""
        if self._shows_all_frames:
            return [(frame, 0) for frame in frames]

        folded = fold(frames)
        shown: list[tuple[Frame, int]] = []

        for each in folded:
            if not isinstance(each, Folded):
                shown.append((each, 0))
            elif _run_key(key, each.frames[0]) in self._toggled:
                shown += [(frame, 0) for frame in each.frames]
            elif not each.plumbing:
                shown.append((each.frames[0], each.count))

        if not shown or shown[-1][0] is not frames[-1]:
            # The innermost frame is never folded away.
            if shown and shown[-1][1] > 1 and folded[-1] != frames[-1]:
                first, count = shown[-1]
                shown[-1] = (first, count - 1)

            shown.append((frames[-1], 0))

        return shown


def _run_key(key: str, first: Frame) -> str:
    """Return the key under which a run of frames is unfolded."""
    return f"{key}/…{first.name}{first.line}"
