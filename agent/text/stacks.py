"""`stacks` as text: one tree from the driver and the controller to where each rank is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from dsray_inspect.agent.model import LAYERS, OK, Frame, Layer, Role, Snapshot, StackGroup
from dsray_inspect.agent.stacks.frame_rules import path_of
from dsray_inspect.agent.stacks.merge import Branch, Folded, fold, prefix_tree
from dsray_inspect.agent.text.humanize import compact, duration, name_ranks
from dsray_inspect.agent.text.report import controller_doing, driver_doing, has_ended
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.truncate import (
    WIDEST,
    cut_end,
    cut_path,
    cut_qualname,
    without_domain,
)

_LAYER_WIDTH = max(map(len, LAYERS))
_WIDEST_PLACE = 28
_NARROWEST_NAME = 28
_MAX_LOCALS = 12
_MAX_HOSTS = 4


class Line(NamedTuple):
    """One frame before the columns are known; `lead` is what the tree draws before its name."""

    lead: str
    name: str
    place: str
    layer: Layer
    mark: str


def stacks_text(snapshot: Snapshot, style: Style = PLAIN, *, full: bool = False) -> str:
    """Return the whole tree; `full` shows the frames that are otherwise folded."""
    writer = Writer(snapshot, style, full)
    lines = _aligned([*writer.driver(), *writer.controller(), *writer.workers()], style)
    missing = [*unseen(snapshot), *(f"note        {note}" for note in snapshot.notes)]
    return "\n".join([*lines, *(["", *missing] if missing else [])])


def _aligned(lines: Sequence[str | Line], style: Style) -> list[str]:
    """Return the tree with its names, places and layers in columns, at most `WIDEST` in all."""
    frames = [line for line in lines if isinstance(line, Line)]
    place_width = max((len(cut_path(frame.place, _WIDEST_PLACE)) for frame in frames), default=0)
    mark_width = max((len(frame.mark) + 1 for frame in frames if frame.mark), default=0)
    most = WIDEST - 2 - place_width - 2 - _LAYER_WIDTH - mark_width
    name_width = min(most, max((len(frame.lead + frame.name) for frame in frames), default=0))
    return [
        line if isinstance(line, str) else _written(line, name_width, place_width, style)
        for line in lines
    ]


def _written(line: Line, name_width: int, place_width: int, style: Style) -> str:
    name = cut_qualname(line.name, max(_NARROWEST_NAME, name_width - len(line.lead)))
    text = (
        f"{line.lead + name:<{name_width}}  {cut_path(line.place, place_width):<{place_width}}  "
        f"{line.layer:<{_LAYER_WIDTH}} {line.mark}"
    ).rstrip()
    return style.paint(text, "bold") if line.layer == "user" else text


def unseen(snapshot: Snapshot) -> list[str]:
    return [
        f"no stack    {name_ranks([worker.rank])} on {worker.hostname}, pid {worker.pid}: "
        f"{worker.evidence.stack}"
        for worker in snapshot.workers
        if worker.evidence.stack != OK and not has_ended(snapshot)
    ]


class Writer:
    """Writes the parts of the tree, each a level further in."""

    def __init__(self, snapshot: Snapshot, style: Style, full: bool) -> None:
        self._snapshot = snapshot
        self._style = style
        self._full = full
        self._hosts = {node.ip: node.hostname for node in snapshot.nodes}
        self._host_of = {
            worker.rank: worker.hostname or worker.node_ip
            for worker in snapshot.workers
            if worker.rank is not None
        }

    def groups(self, *roles: Role) -> list[StackGroup]:
        return [group for group in self._snapshot.stacks.groups if group.role in roles]

    def driver(self) -> Iterator[str | Line]:
        driver = self._snapshot.driver

        if driver is not None:
            doing = driver_doing(self._snapshot, driver)
            yield self.head("driver", driver.node_ip, driver.pid, doing)

        for group in self.groups("driver"):
            yield from self.thread(group, "│ ", len(self.groups("driver")) > 1)

    def controller(self) -> Iterator[str | Line]:
        control = self._snapshot.controller

        if control is None:
            return

        head = self.head("controller", control.node_ip, control.pid, controller_doing(control))
        yield "└ " + head

        for group in self.groups("controller"):
            if control.state != "RUNNING" or self._full:
                yield from self.thread(group, "  │ ", len(self.groups("controller")) > 1)

    def workers(self) -> Iterator[str | Line]:
        groups = self.groups("worker", "child")
        threads = dict.fromkeys((group.role, group.thread) for group in groups)

        ordered = sorted(threads, key=telling_first)

        for role, thread in ordered:
            same = [group for group in groups if (group.role, group.thread) == (role, thread)]
            ranks = sorted({rank for group in same for rank in group.ranks})
            what = "child processes of " if role == "child" else ""
            who = self._style.paint(what + name_ranks(ranks), "bold")
            last = (role, thread) == ordered[-1]
            parts = (f"  {'└' if last else '├'} {who}", self.where(ranks), called(thread))
            yield "  ".join(part for part in parts if part)
            yield from self.branches(prefix_tree(same), "    " if last else "  │ ")

        if not groups:
            yield f"  └ {self.without_stacks()}"

    def without_stacks(self) -> str:
        if not self._snapshot.workers:
            return "no workers"

        return (
            "the workers have ended" if has_ended(self._snapshot) else "no worker's stack was seen"
        )

    def where(self, ranks: Sequence[int]) -> str:
        """Return "on host-a", or "host-a: 0, 2 · host-b: 1" for ranks of several hosts."""
        by_host: dict[str, list[int]] = {}

        for rank in ranks:
            by_host.setdefault(self._host_of.get(rank, "?"), []).append(rank)

        names = without_domain(by_host)

        if len(by_host) > _MAX_HOSTS:
            return f"on {len(by_host)} hosts"

        if len(by_host) < 2:
            return "".join(f"on {name}" for name in names.values())

        return " · ".join(f"{names[host]}: {compact(there)}" for host, there in by_host.items())

    def branches(self, branches: Sequence[Branch], indent: str) -> Iterator[str | Line]:
        for number, branch in enumerate(branches):
            if branch.branches and not self._full and only_plumbing(branch.frames):
                yield from self.branches(branch.branches, indent)
                continue

            last = number == len(branches) - 1
            label = f"[{some_of(branch.ranks)}] " if branch.ranks and not branch.branches else ""
            first = indent + ("└ " if last else "├ ") + label
            rest = indent + ("  " if last else "│ ") + " " * len(label)
            yield from self.frames(branch.frames, first, rest, self.dwell(branch))
            yield from self.branches(branch.branches, indent + ("  " if last else "│ "))

    def dwell(self, branch: Branch) -> str:
        """Return how long the ranks whose stack ends here have been here."""
        if branch.branches or branch.idle_s is None or branch.idle_s < 1:
            return ""

        return f"← here for {duration(branch.idle_s)}"

    def frames(
        self, frames: Sequence[Frame], first: str, rest: str, mark: str = ""
    ) -> Iterator[str | Line]:
        shown = list(frames) if self._full else fold(frames)
        visible = [frame for frame in shown if not (isinstance(frame, Folded) and frame.plumbing)]
        visible = with_last_frame(visible or list(shown[-1:]))
        lead = first

        for number, frame in enumerate(visible):
            last = number == len(visible) - 1

            if isinstance(frame, Folded):
                yield self._style.paint(
                    f"{lead}…({frame.count} frame{'s' if frame.count > 1 else ''} of {frame.layer})",
                    "dim",
                )
            else:
                name = (frame.qualname or frame.name).rpartition("<locals>.")[2]
                yield Line(lead, name, place_of(frame), frame.layer, mark if last else "")
                yield from self.locals(frame, rest)

            lead = rest

    def locals(self, frame: Frame, indent: str) -> Iterator[str]:
        if frame.locals and (self._full or frame.layer == "user"):
            for local in frame.locals[:_MAX_LOCALS]:
                yield cut_end(f"{indent}    {local.name} = {local.value}", WIDEST)

    def head(self, what: str, ip: str, pid: int, doing: str) -> str:
        host = self._hosts.get(ip, ip)
        return f"{self._style.paint(what, 'bold')}  {host} pid {pid}  {doing}"

    def thread(self, group: StackGroup, indent: str, several: bool) -> Iterator[str | Line]:
        if group.frames:
            yield from [f"{indent}thread {called(group.thread)}"] if several else []
            yield from self.frames(group.frames, indent, indent)


def some_of(ranks: Sequence[int]) -> str:
    """Return "0-3, 7", or of very many the first and how many there are."""
    return name_ranks(ranks).partition(" ")[2]


def called(thread: str) -> str:
    """Return a thread's name without what Ray Train puts in brackets behind its own."""
    return thread.partition("(train_fn")[0] or "without a name"


def telling_first(thread: tuple[Role, str]) -> tuple[bool, bool, bool, bool]:
    """Sort a rank's training thread first, then its child processes, then the main thread."""
    role, name = thread
    trains = name.startswith("TrainingThread")
    return (role == "child" or not trains, role != "child", not trains, name != "MainThread")


def with_last_frame(shown: list[Frame | Folded]) -> list[Frame | Folded]:
    """Return the same with the innermost frame unfolded: it is where the thread is."""
    last = shown[-1] if shown else None

    if not isinstance(last, Folded):
        return shown

    rest = msgspec.structs.replace(last, frames=last.frames[:-1])
    tells = rest.frames and not rest.plumbing
    return [*shown[:-1], *([rest] if tells else []), last.frames[-1]]


def only_plumbing(frames: Sequence[Frame]) -> bool:
    return all(isinstance(item, Folded) and item.plumbing for item in fold(frames))


def place_of(frame: Frame) -> str:
    """Return file and line: the last two parts of a package's path, the bare name of a user's file."""
    own = frame.layer in ("user", "native")
    path = "/".join(frame.file.split("/")[-1:] if own else path_of(frame).split("/")[-2:])
    return f"{path}:{frame.line}" if frame.line > 0 else path
