"""One tree from the driver over the controller to the collective, ranks that stand alike once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType

from dsray_inspect.agent.model import Frame, Role, Snapshot, StackGroup
from dsray_inspect.agent.stacks.merge import Branch, Folded, fold, prefix_tree
from dsray_inspect.agent.text.humanize import compact, duration, name_ranks
from dsray_inspect.agent.text.report import controller_doing, driver_doing
from dsray_inspect.agent.text.stacks import called, only_plumbing, place_of, telling_first, unseen
from dsray_inspect.agent.text.truncate import cut_path, cut_qualname
from dsray_inspect.tui.requests import ask_stacks
from dsray_inspect.tui.rows import Look, Part, Row, blank, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.screens.functions import LOOKS
from dsray_inspect.tui.view_state import ViewState

WIDE = 100
LAST = 12
"""Columns of the layer, or of a duration."""


class StacksView(View):
    VIEW: ClassVar[str] = "stacks"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "unfold", "all frames"),
        Binding("n", "ask_native", "native"),
        Binding("l", "ask_locals", "locals", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._toggled: set[str] = set()
        self._is_full = False

    def rows(self, snapshot: Snapshot, _story: ViewState) -> list[Row]:
        return Tree(snapshot, self._toggled, is_full=self._is_full).rows()

    def chosen(self, row: Row) -> None:
        if row.target.startswith("fold:"):
            self._toggled ^= {row.target}
            self.update_view()
        else:
            super().chosen(row)

    def action_unfold(self) -> None:
        self._is_full = not self._is_full
        self._toggled.clear()
        self.update_view()

    def action_ask_native(self) -> None:
        ask_stacks(self.inspect, self.current_ranks(), native=True)

    def action_ask_locals(self) -> None:
        ask_stacks(self.inspect, self.current_ranks(), native=False)

    def current_ranks(self) -> tuple[int, ...]:
        """Return the ranks of the row under the cursor, those blamed when it has none."""
        current, snapshot = self.list.current, self.inspect.story.now
        words = (current.key if current is not None else "").split("|")
        ranks = [int(one) for one in words[1].split(",")] if len(words) > 1 and words[1] else []
        return tuple(ranks or (snapshot.verdict.ranks if snapshot is not None else ()))[:4]


class Tree:
    """Writes the tree; `toggled` holds what was folded or unfolded by hand."""

    def __init__(self, snapshot: Snapshot, toggled: Set[str], *, is_full: bool) -> None:
        self._snapshot = snapshot
        self._toggled = toggled
        self._is_full = is_full
        self._hosts = {node.ip: node.hostname for node in snapshot.nodes}
        self._actor_of = {one.rank: one.actor_id for one in snapshot.workers}

    def rows(self) -> list[Row]:
        rows = [*self._driver(), *self._controller(), *self._workers()]
        missing = [
            row(f"unseen {n}", (f" ? {text}", "warning"))
            for n, text in enumerate(unseen(self._snapshot))
        ]
        return [*rows, *([blank()] if missing else []), *missing]

    def of(self, *roles: Role) -> list[StackGroup]:
        return [group for group in self._snapshot.stacks.groups if group.role in roles]

    def _driver(self) -> Iterator[Row]:
        driver = self._snapshot.driver

        if driver is not None:
            doing = driver_doing(self._snapshot, driver)
            yield from self._process("driver", driver.node_ip, driver.pid, doing, " ")

    def _controller(self) -> Iterator[Row]:
        control = self._snapshot.controller

        if control is not None:
            doing = controller_doing(self._snapshot, control)
            yield from self._process("controller", control.node_ip, control.pid, doing, " └ ")

    def _process(self, role: Role, ip: str, pid: int, doing: str, lead: str) -> Iterator[Row]:
        groups = [group for group in self.of(role) if group.frames]
        is_open = self._is_open(f"fold:{role}", starts_open=self._is_full)
        mark = ("▾ " if is_open else "▸ ") if groups else "  "
        yield row(
            f"{role}|",
            (lead + mark, "dim"),
            (f"{role}  ", "bold"),
            (f"{self._hosts.get(ip, ip)} pid {pid}  ", "dim"),
            (doing, ""),
            target=f"fold:{role}" if groups else "",
        )

        for group in groups if is_open else ():
            branch = Branch(ranks=(), pids=group.pids, frames=group.frames, idle_s=group.idle_s)
            yield from self._frames(branch, " " * len(lead) + "│ ", " " * len(lead) + "│ ", role)

    def _workers(self) -> Iterator[Row]:
        groups = self.of("worker", "child")
        threads = sorted(dict.fromkeys((one.role, one.thread) for one in groups), key=telling_first)

        for role, thread in threads:
            same = [one for one in groups if (one.role, one.thread) == (role, thread)]
            ranks = sorted({rank for one in same for rank in one.ranks})
            last = (role, thread) == threads[-1]
            key = f"fold:{role}/{thread}"
            is_open = self._is_open(key, starts_open=True)
            what = "child processes of " if role == "child" else ""
            yield row(
                f"{role}/{thread}|{','.join(map(str, ranks[:4]))}",
                (f"   {'└' if last else '├'} {'▾' if is_open else '▸'} ", "dim"),
                (f"{what}{name_ranks(ranks)}  ", "bold"),
                (called(thread), "dim"),
                target=key,
            )

            if is_open:
                indent = "     " if last else "   │ "
                yield from self._branches(prefix_tree(same), indent, thread)

        if not groups:
            yield row("", ("   └ no worker's stack was seen", "dim"))

    def _branches(self, branches: Sequence[Branch], indent: str, path: str) -> Iterator[Row]:
        for number, branch in enumerate(branches):
            if branch.branches and not self._is_full and only_plumbing(branch.frames):
                yield from self._branches(branch.branches, indent, path)
                continue

            last = number == len(branches) - 1
            head = branch.frames[0]
            key = f"{path}/{head.name}:{head.line}"
            label = f"[{compact(branch.ranks)}] " if branch.ranks else ""
            is_open = self._is_open(f"fold:{key}", starts_open=True)
            first = f"{indent}{'└' if last else '├'} {'▾' if is_open else '▸'} {label}"
            rest = f"{indent}{' ' if last else '│'}   " + " " * (
                len(label) if not branch.branches else 0
            )

            if not is_open:
                yield self._folded_branch(branch, first, key)
                continue

            yield from self._frames(branch, first, rest, key)
            yield from self._branches(branch.branches, f"{indent}{' ' if last else '│'} ", key)

    def _folded_branch(self, branch: Branch, first: str, key: str) -> Row:
        deepest = branch
        count = len(branch.frames)

        while deepest.branches:
            deepest = deepest.branches[0]
            count += len(deepest.frames)

        return row(
            self._key(key, branch, 0),
            (first, "dim"),
            (f"{branch.frames[0].name} → {deepest.frames[-1].name}", "bold"),
            (f"   {count} frames", "dim"),
            target=f"fold:{key}",
        )

    def _frames(self, branch: Branch, first: str, rest: str, key: str) -> Iterator[Row]:
        """Yield a row a frame; runs of frames that tell nothing are one row until it is opened."""
        lead = first
        shown = self._shown(branch.frames, key)

        for number, (one, count) in enumerate(shown):
            is_last = number == len(shown) - 1
            mine = self._key(key, branch, number)

            if count:
                text = f"…{count} frame{'s' if count > 1 else ''} of {one.layer}"
                yield row(
                    mine, (lead, "dim"), (text, "dim"), target=f"fold:{key}/…{one.name}{one.line}"
                )
            else:
                stands_s = branch.idle_s if is_last and not branch.branches else None
                name = (one.qualname or one.name).rpartition("<locals>.")[2]
                target = f"fold:{key}" if lead == first else ""

                if is_last and not branch.branches and branch.ranks:
                    target = f"rank:{self._actor_of.get(branch.ranks[0], '')}"

                look: Look = LOOKS.get(one.layer, "dim" if one.layer == "python" else "")
                draw = partial(drawn_frame, lead, name, one, look, stands_s)
                yield Row(mine, draw, target, f"{name} {one.file}:{one.line} {one.layer}")

            lead = rest

    def _shown(self, frames: Sequence[Frame], key: str) -> list[tuple[Frame, int]]:
        """Return the frames to show, or the first of a folded run with how many it holds."""
        if self._is_full:
            return [(frame, 0) for frame in frames]

        shown: list[tuple[Frame, int]] = []

        for one in fold(frames):
            if not isinstance(one, Folded):
                shown.append((one, 0))
            elif f"fold:{key}/…{one.frames[0].name}{one.frames[0].line}" in self._toggled:
                shown += [(frame, 0) for frame in one.frames]
            elif not one.plumbing:
                shown.append((one.frames[0], one.count))

        if not shown or shown[-1][0] is not frames[-1]:
            # Where the thread stands is never folded away.
            if shown and shown[-1][1] > 1 and fold(frames)[-1] != frames[-1]:
                first, count = shown[-1]
                shown[-1] = (first, count - 1)

            shown.append((frames[-1], 0))

        return shown

    def _is_open(self, key: str, *, starts_open: bool) -> bool:
        return starts_open != (key in self._toggled)

    def _key(self, key: str, branch: Branch, number: int) -> str:
        return f"{key}#{number}|{','.join(map(str, branch.ranks[:4]))}"


def drawn_frame(
    lead: str, name: str, frame: Frame, look: Look, stands_s: float | None, width: int
) -> list[Part]:
    """Return a frame in columns: name, place, and its layer or how long a thread stands in it."""
    is_wide = width >= WIDE
    place_width = 28 if is_wide else 20
    room = width - len(lead) - place_width - LAST - 5
    name_width = max(8, min(room, 64 - len(lead)) if is_wide else room)
    parts: list[Part] = [
        (lead, "dim"),
        (f"{cut_qualname(name, name_width):<{name_width}}  ", look),
        (
            f"{cut_path(place_of(frame), place_width):<{place_width}}  ",
            "" if frame.layer == "user" else "dim",
        ),
    ]

    if stands_s is None or stands_s < 1:
        return [*parts, (frame.layer, "dim")]

    here = "here for " if is_wide else ""
    return [*parts, (f"← {here}{duration(stands_s)}", "warning")]
