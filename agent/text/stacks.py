"""`stacks` as text: one tree from the driver over the controller to where each rank stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from dsray_inspect.agent.detectors.findings import duration, name_ranks
from dsray_inspect.agent.model import Frame, Role, Snapshot, StackGroup
from dsray_inspect.agent.stacks.marks import path_of
from dsray_inspect.agent.stacks.merge import Branch, Folded, fold, prefix_tree
from dsray_inspect.agent.text.report import controller_doing
from dsray_inspect.agent.text.style import PLAIN, Style

NAME_WIDTH = 44
PLACE_WIDTH = 36
MAX_LOCALS = 12


def stacks_text(snapshot: Snapshot, style: Style = PLAIN, *, full: bool = False) -> str:
    """Return the whole tree; `full` shows the frames that are folded otherwise."""
    writer = Writer(snapshot, style, full)
    lines = [*writer.driver(), *writer.controller(), *writer.workers()]
    missing = unseen(snapshot)
    return "\n".join([*lines, *(["", *missing] if missing else [])])


def unseen(snapshot: Snapshot) -> list[str]:
    return [
        f"no stack    rank {worker.rank} on {worker.hostname}, pid {worker.pid}: {worker.evidence.stack}"
        for worker in snapshot.workers
        if worker.evidence.stack != "ok"
    ]


class Writer:
    """Writes the parts of the tree, each a level further in."""

    def __init__(self, snapshot: Snapshot, style: Style, full: bool) -> None:
        self._snapshot = snapshot
        self._style = style
        self._full = full
        self._hosts = {node.ip: node.hostname for node in snapshot.nodes}

    def groups(self, *roles: Role) -> list[StackGroup]:
        return [group for group in self._snapshot.stacks.groups if group.role in roles]

    def driver(self) -> Iterator[str]:
        driver = self._snapshot.driver

        if driver is not None:
            doing = driver.waiting_on or "its stack was not seen"
            yield self.head("driver", driver.node_ip, driver.pid, doing)

        for group in self.groups("driver"):
            yield from self.thread_name(group, "│ ", len(self.groups("driver")) > 1)
            yield from self.frames(group.frames, "│ ", "│ ")

    def controller(self) -> Iterator[str]:
        control = self._snapshot.controller

        if control is None:
            return

        head = self.head("controller", control.node_ip, control.pid, controller_doing(control))
        yield "└ " + head

        for group in self.groups("controller"):
            if control.state != "RUNNING" or self._full:
                yield from self.thread_name(group, "  │ ", len(self.groups("controller")) > 1)
                yield from self.frames(group.frames, "  │ ", "  │ ")

    def workers(self) -> Iterator[str]:
        groups = self.groups("worker", "child")
        threads = dict.fromkeys((group.role, group.thread) for group in groups)

        for role, thread in sorted(threads, key=telling_first):
            same = [group for group in groups if (group.role, group.thread) == (role, thread)]
            ranks = sorted({rank for group in same for rank in group.ranks})
            what = "child processes of " if role == "child" else ""
            yield f"  └ {self._style.paint(what + name_ranks(ranks), 'bold')}  {thread}"
            yield from self.branches(prefix_tree(same), "    ")

        if not groups:
            yield "  └ no worker's stack was seen" if self._snapshot.workers else "  └ no workers"

    def branches(self, branches: Sequence[Branch], indent: str) -> Iterator[str]:
        for number, branch in enumerate(branches):
            if branch.branches and not self._full and only_plumbing(branch.frames):
                yield from self.branches(branch.branches, indent)
                continue

            last = number == len(branches) - 1
            label = f"[{compact(branch.ranks)}] " if branch.ranks and not branch.branches else ""
            first = indent + ("└ " if last else "├ ") + label
            rest = indent + ("  " if last else "│ ") + " " * len(label)
            yield from self.frames(branch.frames, first, rest, self.stands(branch))
            yield from self.branches(branch.branches, indent + ("  " if last else "│ "))

    def stands(self, branch: Branch) -> str:
        """Return how long the ranks whose stack ends here have stood here."""
        if branch.branches or branch.idle_s is None or branch.idle_s < 1:
            return ""

        return f"← here for {duration(branch.idle_s)}"

    def frames(
        self, frames: Sequence[Frame], first: str, rest: str, mark: str = ""
    ) -> Iterator[str]:
        shown = list(frames) if self._full else fold(frames)
        visible = [one for one in shown if not (isinstance(one, Folded) and one.plumbing)]
        visible = with_last_frame(visible) or list(shown[-1:])
        lead = first

        for number, one in enumerate(visible):
            last = number == len(visible) - 1

            if isinstance(one, Folded):
                yield self._style.paint(f"{lead}…({one.count} frames of {one.layer})", "dim")
            else:
                yield self.line(lead, one, mark if last else "")
                yield from self.locals(one, rest)

            lead = rest

    def line(self, lead: str, frame: Frame, mark: str) -> str:
        name = (frame.qualname or frame.name).rpartition("<locals>.")[2]
        place = place_of(frame)
        text = f"{lead}{name}".ljust(NAME_WIDTH) + "  " + place.ljust(PLACE_WIDTH)
        text = f"{text}  {frame.layer:<10} {mark}".rstrip()
        return self._style.paint(text, "bold") if frame.layer == "user" else text

    def locals(self, frame: Frame, indent: str) -> Iterator[str]:
        if frame.locals and (self._full or frame.layer == "user"):
            for local in frame.locals[:MAX_LOCALS]:
                yield f"{indent}    {local.name} = {local.value[:100]}"

    def head(self, what: str, ip: str, pid: int, doing: str) -> str:
        host = self._hosts.get(ip, ip)
        return f"{self._style.paint(what, 'bold')}  {host} pid {pid}  {doing}"

    def thread_name(self, group: StackGroup, indent: str, several: bool) -> Iterator[str]:
        if several:
            yield f"{indent}thread {group.thread}"


def telling_first(thread: tuple[Role, str]) -> tuple[bool, bool, bool]:
    """Sort a rank's training thread first, then its child processes, then the main thread."""
    role, name = thread
    return (
        role == "child" or not name.startswith("TrainingThread"),
        role != "child",
        name != "MainThread",
    )


def with_last_frame(shown: list[Frame | Folded]) -> list[Frame | Folded]:
    """Return the same with the innermost frame unfolded: it is where the thread stands."""
    last = shown[-1] if shown else None

    if not isinstance(last, Folded):
        return shown

    rest = msgspec.structs.replace(last, frames=last.frames[:-1])
    return [*shown[:-1], *([rest] if rest.frames else []), last.frames[-1]]


def only_plumbing(frames: Sequence[Frame]) -> bool:
    return all(isinstance(one, Folded) and one.plumbing for one in fold(frames))


def place_of(frame: Frame) -> str:
    """Return file and line: the last two parts of a package's path, the bare name of a user's file."""
    own = frame.layer in ("user", "native")
    path = "/".join(frame.file.split("/")[-1:] if own else path_of(frame).split("/")[-2:])
    return f"{path}:{frame.line}" if frame.line > 0 else path


def compact(ranks: Sequence[int]) -> str:
    """Return "0-3, 7" for 0, 1, 2, 3, 7."""
    parts: list[str] = []
    start = previous = None

    for rank in [*ranks, None]:
        if start is not None and (rank is None or previous is None or rank != previous + 1):
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = rank
        elif start is None:
            start = rank

        previous = rank

    return ", ".join(parts)
