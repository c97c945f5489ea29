"""The page of one rank: its status, code, stack, collectives and log, in parts that can be folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import partial
from typing import Final

from dsray_inspect.agent.model import OK, Finding, Frame, Snapshot, StackGroup, Worker
from dsray_inspect.agent.stacks.merge import Folded, fold
from dsray_inspect.agent.text.humanize import collective_name, duration
from dsray_inspect.agent.text.stacks import called
from dsray_inspect.tui.drawing import LAYER_STYLES, drawn_frame, function_name, wrapped
from dsray_inspect.tui.panels.log import LogRequest, log_rows, request_part
from dsray_inspect.tui.panels.rank_details import (
    FACT_HEAD,
    config_rows,
    deepspeed_rows,
    deepspeed_summary,
    env_rows,
    evidence_rows,
    fact,
    process_rows,
    why_missing,
)
from dsray_inspect.tui.rank_status import rank_statuses
from dsray_inspect.tui.rows import Row, StyleName, row
from dsray_inspect.tui.source_lines import lines_around
from dsray_inspect.tui.targets import FoldTarget, ViewTarget

_EARLIER: Final = 48
"""Snapshots in the charts of a rank."""


def earlier_of(past: Sequence[Snapshot], worker: Worker) -> list[Worker]:
    """Return a rank in the latest snapshots, including its other processes."""
    earlier = []

    for snapshot in past[-_EARLIER:]:
        same = (each for each in snapshot.workers if each.rank == worker.rank)
        earlier += [each for each in (next(same, None),) if each is not None]

    return earlier


class RankPage:
    """Makes the rows of a rank.

    Args:
        snapshot: The snapshot on the screen.
        worker: The rank in it.
        earlier: The rank in the latest snapshots.
        folded: The names of the parts that are folded.
        width: The width to which long texts are wrapped.
        shows_all_frames: Whether uninteresting frames are shown too.
        is_live: Whether the rank may run on this machine now.
        log: How far the reading of its log has come; without it the page has no log.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        worker: Worker,
        earlier: Sequence[Worker],
        *,
        folded: Set[str],
        width: int,
        shows_all_frames: bool,
        is_live: bool,
        log: LogRequest | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._worker = worker
        self._earlier = earlier
        self._folded = folded
        self._width = width
        self._shows_all_frames = shows_all_frames
        self._is_live = is_live
        self._log_request = log
        self._status = rank_statuses(snapshot)[worker.actor_id]

    def rows(self) -> Iterator[Row]:
        worker = self._worker
        yield from self._head()
        yield from self._code()
        yield from self._part("stack", self._stack_summary(), self._stack())
        newest = f"{len(worker.collectives)} newest"
        yield from self._part("collectives", newest, self._collectives())
        yield from self._log()
        yield from self._part("process", "", process_rows(self._snapshot, worker, self._earlier))
        yield from self._part("DeepSpeed", deepspeed_summary(worker), deepspeed_rows(worker))
        env = worker.env
        variables = f"{len(env)} variables" if env else why_missing(worker.evidence.env)
        yield from self._part("environment", variables, env_rows(worker))
        config = worker.deepspeed.config if worker.deepspeed else {}
        yield from self._part("config", f"{len(config)} DeepSpeed settings", config_rows(worker))
        yield from self._part("evidence", "what each source gave", evidence_rows(worker))

    def _part(
        self, name: str, summary: str, rows: Iterator[Row], style: StyleName = "dim"
    ) -> Iterator[Row]:
        is_open = name not in self._folded
        heading = f" {'▾' if is_open else '▸'} {name:<{FACT_HEAD - 1}}"
        target = FoldTarget(name)
        yield row(f"part {name}", (heading, "head"), (summary, style), target=target)

        if is_open:
            yield from rows

    def _head(self) -> Iterator[Row]:
        worker, status = self._worker, self._status
        gpus = ", ".join(str(gpu.slot) for gpu in worker.gpus) or "none"
        host = f"{worker.hostname or worker.node_ip} ({worker.node_ip})"
        yield row(
            "head",
            (f" {status.symbol} rank {worker.rank}", status.style),
            (f" of {worker.world_size}   ", "bold"),
            (f"{host}   GPU {gpus}   pid {worker.pid}   ", ""),
            (status.word or worker.state, status.style),
        )
        yield fact(
            "actor",
            (worker.actor_id, ""),
            (f"  local rank {worker.local_rank}, node rank {worker.node_rank}", "dim"),
        )

        for finding in self._snapshot.findings:
            if worker.rank in finding.ranks:
                yield from self._finding(finding)

    def _finding(self, finding: Finding) -> Iterator[Row]:
        is_error = finding.severity == "error"
        style: StyleName = "error" if is_error else "warning"
        lines = wrapped(f"{finding.cause}: {finding.summary}", self._width - 6, 3)

        for number, line in enumerate(lines):
            mark = "     " if number else f"   {'✗' if is_error else '!'} "
            key = f"finding {finding.cause} {number}"
            yield row(key, (mark, style), (line, style), target=ViewTarget("findings"))

    def _code(self) -> Iterator[Row]:
        function = self._worker.function

        if function is None:
            return

        yield fact(
            "function",
            (f"{function.name}  ", "user"),
            (f"{function.file.rpartition('/')[2]}:{function.line}", "bold"),
            (f"  {self._worker.phase}", ""),
            key="function",
        )

        # The file of a recording may have changed since.
        if self._is_live:
            for number, text in lines_around(function.file, function.line, self._worker.hostname):
                is_here = number == function.line
                style: StyleName = "user" if is_here else "dim"
                mark = f"   {'▶' if is_here else ' '}{number:>6} │ "
                yield row(f"code {number}", (mark, style), (text, style))

    # The stack

    def _group(self) -> StackGroup | None:
        groups = [
            group
            for group in self._snapshot.stacks.groups
            if group.role == "worker" and self._worker.rank in group.ranks
        ]
        groups.sort(key=lambda group: not group.thread.startswith("TrainingThread"))
        return groups[0] if groups else None

    def _stack_summary(self) -> str:
        group = self._group()

        if group is None:
            return why_missing(self._worker.evidence.stack)

        source = f", {self._worker.stack_source}" if self._worker.stack_source else ""
        return f"{called(group.thread)}, {len(group.frames)} frames{source} · x shows all"

    def _stack(self) -> Iterator[Row]:
        group = self._group()

        if group is None:
            return

        frames = list(self._shown_frames(group.frames))

        for number, frame in enumerate(frames):
            if isinstance(frame, Folded):
                text = f"     …{frame.count} frames of {frame.layer}"
                yield row(f"frame {number}", (text, "dim"))
            else:
                idle_s = self._worker.idle_s if number == len(frames) - 1 else None
                style: StyleName = LAYER_STYLES.get(frame.layer, "dim")
                yield Row(
                    f"frame {number}",
                    partial(drawn_frame, "     ", function_name(frame), frame, style, idle_s),
                    ViewTarget("stacks"),
                    f"{frame.name} {frame.file}:{frame.line} {frame.layer}",
                    f"{frame.file}:{frame.line}",
                )

    def _shown_frames(self, frames: Sequence[Frame]) -> Iterator[Frame | Folded]:
        for each in frames if self._shows_all_frames else fold(frames):
            if not isinstance(each, Folded):
                yield each
            elif frames[-1] in each.frames:
                # The innermost frame is never folded away.
                yield frames[-1]
            elif not each.plumbing:
                yield each

    def _collectives(self) -> Iterator[Row]:
        worker = self._worker

        if not worker.collectives:
            why = worker.evidence.collectives
            yield fact("–", ("none recorded" if why == OK else why, "dim"), key="no collectives")

        for collective in sorted(worker.collectives, key=lambda each: each.age_s):
            is_waiting = not collective.finished
            limit = ""

            if collective.timeout_s and is_waiting:
                limit = f", its group times out after {duration(collective.timeout_s)}"

            yield fact(
                "IN IT" if is_waiting else "finished",
                (collective_name(collective), "collective" if is_waiting else "dim"),
                (f"  entered {duration(collective.age_s)} ago{limit}", "dim"),
                key=f"collective {collective.group} {collective.sequence}",
            )

    def _log(self) -> Iterator[Row]:
        request = self._log_request

        if request is None:
            return

        text, style = request_part(request, is_live=self._is_live)
        rows = log_rows(request.log, self._width) if request.log is not None else iter(())
        yield from self._part("log", text, rows, style)
