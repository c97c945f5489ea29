"""The rows of one rank, in parts that can be folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from functools import partial
from itertools import pairwise

from dsray_inspect.agent.model import OK, Finding, Frame, Gpu, Node, Snapshot, StackGroup, Worker
from dsray_inspect.agent.stacks.merge import Folded, fold
from dsray_inspect.agent.text.env import written
from dsray_inspect.agent.text.humanize import collective_name, duration
from dsray_inspect.agent.text.report import facts_of
from dsray_inspect.agent.text.stacks import called
from dsray_inspect.tui.code import around
from dsray_inspect.tui.rank_status import standings
from dsray_inspect.tui.rows import Look, Part, Row, blank, row
from dsray_inspect.tui.screens.functions import LOOKS
from dsray_inspect.tui.screens.log import Asked, log_rows, state_part
from dsray_inspect.tui.screens.stacks import drawn_frame
from dsray_inspect.tui.screens.timeline import strip
from dsray_inspect.tui.throughput import chart
from dsray_inspect.tui.widgets.bars import wrapped

HEAD = 13
MIB = 1 << 20
HISTORY = 48


def history(past: Sequence[Snapshot], worker: Worker) -> list[Worker]:
    """Return a rank in the looks before, other processes of it included."""
    found = []

    for snapshot in past[-HISTORY:]:
        same = (one for one in snapshot.workers if one.rank == worker.rank)
        earlier = next(same, None)
        found += [earlier] if earlier is not None else []

    return found


class RankRows:
    """The rows of a rank, in parts that can be folded; without `log`, none of that name."""

    def __init__(
        self,
        snapshot: Snapshot,
        worker: Worker,
        past: Sequence[Worker],
        folded: Set[str],
        *,
        width: int,
        is_full: bool,
        is_live: bool,
        log: Asked | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._worker = worker
        self._past = past
        self._folded = folded
        self._width = width
        self._is_full = is_full
        self._is_live = is_live
        self._asked = log
        self._stands = standings(snapshot)[worker.actor_id]

    def rows(self) -> Iterator[Row]:
        yield from self._head()
        yield from self._code()
        yield from self._part("stack", self._where_it_stands(), self._stack())
        yield from self._part(
            "collectives", f"{len(self._worker.collectives)} newest", self._collectives()
        )
        yield from self._log()
        yield from self._part("process", "", self._process())
        yield from self._part("DeepSpeed", self._engine_line(), self._engine())
        env = self._worker.env
        yield from self._part(
            "environment",
            f"{len(env)} variables" if env else missing(self._worker.evidence.env),
            self._env(),
        )
        config = self._worker.deepspeed.config if self._worker.deepspeed else {}
        yield from self._part("config", f"{len(config)} settings of DeepSpeed", self._config())
        yield from self._part("evidence", "what each rung gave", self._evidence())

    def _part(self, name: str, rest: str, rows: Iterator[Row], look: Look = "dim") -> Iterator[Row]:
        is_open = name not in self._folded
        yield row(
            f"part {name}",
            (f" {'▾' if is_open else '▸'} {name:<{HEAD - 1}}", "head"),
            (rest, look),
            target=f"fold:{name}",
        )

        if is_open:
            yield from rows

    def _fact(self, name: str, *parts: Part, key: str = "") -> Row:
        return row(key or f"fact {name}", (f"   {name:<{HEAD}}", "dim"), *parts)

    def _head(self) -> Iterator[Row]:
        worker, standing = self._worker, self._stands
        gpus = ", ".join(str(gpu.slot) for gpu in worker.gpus) or "none"
        state = standing.word or worker.state
        yield row(
            "head",
            (f" {standing.symbol} rank {worker.rank}", standing.look),
            (f" of {worker.world_size}   ", "bold"),
            (
                f"{worker.hostname or worker.node_ip} ({worker.node_ip})   GPU {gpus}   pid {worker.pid}   ",
                "",
            ),
            (state, standing.look),
        )
        yield self._fact(
            "actor",
            (worker.actor_id, ""),
            (f"  local rank {worker.local_rank}, node rank {worker.node_rank}", "dim"),
        )

        for finding in self._snapshot.findings:
            if worker.rank in finding.ranks:
                yield from self._finding(finding)

    def _finding(self, finding: Finding) -> Iterator[Row]:
        is_error = finding.severity == "error"
        look: Look = "error" if is_error else "warning"
        lines = wrapped(f"{finding.cause}: {finding.summary}", self._width - 6, 3)

        for number, line in enumerate(lines):
            mark = f"   {'✗' if is_error else '!'} " if not number else "     "
            key = f"finding {finding.cause} {number}"
            yield row(key, (mark, look), (line, look), target="view:findings")

    def _code(self) -> Iterator[Row]:
        function = self._worker.function

        if function is None:
            return

        yield self._fact(
            "function",
            (f"{function.name}  ", "user"),
            (f"{function.file.rpartition('/')[2]}:{function.line}", "bold"),
            (f"  {self._worker.phase}", ""),
            key="function",
        )

        if self._is_live:
            for number, text in around(function.file, function.line, self._worker.hostname):
                here = number == function.line
                look: Look = "user" if here else "dim"
                yield row(
                    f"code {number}",
                    (f"   {'▶' if here else ' '}{number:>6} │ ", look),
                    (text, look),
                )

    def _group(self) -> StackGroup | None:
        groups = [
            one
            for one in self._snapshot.stacks.groups
            if one.role == "worker" and self._worker.rank in one.ranks
        ]
        groups.sort(key=lambda one: not one.thread.startswith("TrainingThread"))
        return groups[0] if groups else None

    def _where_it_stands(self) -> str:
        group = self._group()

        if group is None:
            return missing(self._worker.evidence.stack)

        source = f", {self._worker.stack_source}" if self._worker.stack_source else ""
        return f"{called(group.thread)}, {len(group.frames)} frames{source} · x shows all"

    def _stack(self) -> Iterator[Row]:
        group = self._group()

        if group is None:
            return

        idle_s = self._worker.idle_s
        frames = list(self._frames(group.frames))

        for number, one in enumerate(frames):
            if isinstance(one, Folded):
                yield row(f"frame {number}", (f"     …{one.count} frames of {one.layer}", "dim"))
            else:
                name = (one.qualname or one.name).rpartition("<locals>.")[2]
                stands_s = idle_s if number == len(frames) - 1 else None
                look: Look = LOOKS.get(one.layer, "dim")
                draw = partial(drawn_frame, "     ", name, one, look, stands_s)
                yield Row(
                    f"frame {number}",
                    draw,
                    "view:stacks",
                    f"{one.name} {one.file}:{one.line} {one.layer}",
                    f"{one.file}:{one.line}",
                )

    def _frames(self, frames: Sequence[Frame]) -> Iterator[Frame | Folded]:
        for one in frames if self._is_full else fold(frames):
            if not isinstance(one, Folded):
                yield one
            elif frames[-1] in one.frames:
                yield frames[-1]
            elif not one.plumbing:
                yield one

    def _collectives(self) -> Iterator[Row]:
        if not self._worker.collectives:
            why = self._worker.evidence.collectives
            yield self._fact(
                "–", ("none recorded" if why == OK else why, "dim"), key="no collectives"
            )

        for one in sorted(self._worker.collectives, key=lambda one: one.age_s):
            look: Look = "dim" if one.finished else "collective"
            state = "finished" if one.finished else "IN IT"
            limit = (
                f", its group gives up after {duration(one.timeout_s)}"
                if one.timeout_s and not one.finished
                else ""
            )
            yield self._fact(
                state,
                (collective_name(one), look),
                (f"  entered {duration(one.age_s)} ago{limit}", "dim"),
                key=f"collective {one.group} {one.sequence}",
            )

    def _log(self) -> Iterator[Row]:
        asked = self._asked

        if asked is None:
            return

        text, look = state_part(asked, is_live=self._is_live)
        rows = log_rows(asked.log, self._width) if asked.log is not None else iter(())
        yield from self._part("log", text, rows, look)

    def _process(self) -> Iterator[Row]:
        worker = self._worker
        moved = "–" if worker.idle_s is None else f"{duration(worker.idle_s)} ago"
        yield self._fact(
            "moved", (moved, ""), ("  when its training thread last ran on a CPU", "dim")
        )
        yield self._fact("phases", *strip([one.phase for one in self._past], 48))
        steps = [one.step for one in self._past if one.step is not None]
        step = "–" if worker.step is None else str(worker.step)
        rates = [float(max(0, b - a)) for a, b in pairwise(steps)]
        yield self._fact(
            "step",
            (f"{step:<12} ", "bold"),
            (chart(rates, 36), "accent"),
            ("  steps a look", "dim"),
        )

        if worker.rss_bytes is not None:
            memory = [None if one.rss_bytes is None else one.rss_bytes / MIB for one in self._past]
            yield self._fact(
                "memory",
                (f"{worker.rss_bytes / MIB:,.0f} MiB".ljust(13), "bold"),
                (chart(memory, 36), "accent"),
                ("  resident", "dim"),
            )

        for gpu in self._gpus():
            used = (
                ""
                if gpu.memory_used_bytes is None
                else f", {gpu.memory_used_bytes / MIB:,.0f} MiB used"
            )
            busy = "–" if gpu.utilization is None else f"{gpu.utilization * 100:.0f} % busy"
            yield self._fact(
                f"GPU {gpu.index}", (f"{busy}{used}", ""), (f"  {gpu.name} {gpu.uuid}", "dim")
            )

        versions = "  ".join(f"{name} {version}" for name, version in worker.versions.items())
        yield self._fact("versions", (versions or "–", ""))
        yield self._fact(
            "paused", (f"{worker.pause_ms:.1f} ms", ""), ("  how long this look stopped it", "dim")
        )

    def _gpus(self) -> list[Gpu]:
        node: Node | None = next(
            (one for one in self._snapshot.nodes if one.node_id == self._worker.node_id), None
        )
        uuids = {gpu.uuid for gpu in self._worker.gpus if gpu.uuid}
        return [gpu for gpu in node.gpus if gpu.uuid in uuids] if node is not None else []

    def _engine_line(self) -> str:
        engine = self._worker.deepspeed
        return (
            " · ".join(facts_of(engine)[:3]) if engine else missing(self._worker.evidence.deepspeed)
        )

    def _engine(self) -> Iterator[Row]:
        engine = self._worker.deepspeed

        if engine is None:
            return

        yield self._fact("engine", (" · ".join(facts_of(engine)[3:]), ""))
        yield from (
            self._fact("group" if not n else "", (name, ""), key=f"group {n}")
            for n, name in enumerate(engine.process_groups)
        )

        for phase in engine.init:
            yield self._fact(
                "start-up",
                (f"{phase.phase} {duration(phase.seconds)}", ""),
                key=f"init {phase.phase}",
            )

    def _env(self) -> Iterator[Row]:
        for name, one in sorted(self._worker.env.items()):
            yield row(
                f"env {name}",
                (f"   {name}", "bold"),
                ("=", "dim"),
                (written(one.value, whole=True), ""),
                (f"  {one.source}", "dim"),
            )

    def _config(self) -> Iterator[Row]:
        config = self._worker.deepspeed.config if self._worker.deepspeed else {}

        for name, value in sorted(config.items()):
            yield row(f"config {name}", (f"   {name}", "bold"), (" = ", "dim"), (value, ""))

    def _evidence(self) -> Iterator[Row]:
        evidence = self._worker.evidence

        for name in (
            "gcs",
            "controller",
            "worker",
            "stack",
            "env",
            "deepspeed",
            "collectives",
            "gpu",
        ):
            why = getattr(evidence, name)
            yield self._fact(
                name,
                ("● ok", "success") if why == OK else (f"? {why}", "warning"),
                key=f"evidence {name}",
            )

        yield blank()


def missing(why: str) -> str:
    """Return why something is not there, which may be for no other reason than the moment."""
    return "not at the moment" if why == OK else f"not seen: {why}"
