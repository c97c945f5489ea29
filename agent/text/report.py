"""`attach` as text: the verdict, driver and controller, one line per rank, what could not be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dsray_inspect.agent.history import History
from dsray_inspect.agent.model import OK, Controller, DeepSpeed, Driver, Finding, Snapshot, Worker
from dsray_inspect.agent.text.history_lines import past_lines
from dsray_inspect.agent.text.humanize import duration, name_ranks
from dsray_inspect.agent.text.startup import startup_lines
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.table import table
from dsray_inspect.agent.text.truncate import (
    cut_end,
    cut_front,
    cut_middle,
    keep_apart,
    without_domain,
    wrap,
)

_MAX_RANKS = 64
_MAX_EVIDENCE = 4
_HEADS = ("rank", "node", "GPU", "pid", "actor", "function", "", "phase", "step", "idle")
NODE, FUNCTION, PLACE = _HEADS.index("node"), _HEADS.index("function"), _HEADS.index("function") + 1


def report(snapshot: Snapshot, style: Style = PLAIN, past: History | None = None) -> str:
    """Return the whole report."""
    parts = [
        _headline(snapshot, style),
        _title(snapshot, style),
        _people(snapshot),
        "",
        ranks(snapshot, style),
    ]
    deepspeed = deepspeed_lines(snapshot)
    parts += ["", *deepspeed] if deepspeed else []
    start = startup_lines(snapshot)
    parts += ["", *start] if start else []
    before = past_lines(past)
    parts += ["", *before] if before else []
    found = _finding_lines(snapshot, style)
    parts += ["", *found] if found else []
    parts += ["", *evidence_lines(snapshot, style)]
    return "\n".join(parts)


def _headline(snapshot: Snapshot, style: Style) -> str:
    verdict = snapshot.verdict
    return f"{style.state(verdict.state.upper(), verdict.state)}: {verdict.summary}"


def _title(snapshot: Snapshot, style: Style) -> str:
    job, run = snapshot.job, snapshot.run
    parts = [job.submission_id or f"job {job.job_id}"]

    if run is not None:
        parts.append(run.name or "name of the run not known")
        parts += [f"run {run.id[:8]}"] if run.id else []
        parts += [f"attempt {run.attempt[:8]}"] if run.attempt else []
        parts.append(run.state)
    else:
        parts.append(f"no training run, {job.state}")

    return style.paint(" · ".join(parts), "dim")


def _people(snapshot: Snapshot) -> str:
    names = {node.ip: node.hostname for node in snapshot.nodes}
    rows = []

    if snapshot.driver is not None:
        driver = snapshot.driver
        doing = driver_doing(snapshot, driver)
        rows.append(
            ("driver", names.get(driver.node_ip, driver.node_ip), f"pid {driver.pid}", doing)
        )

    if snapshot.controller is not None:
        control = snapshot.controller
        doing = controller_doing(control)
        rows.append(
            ("controller", names.get(control.node_ip, control.node_ip), f"pid {control.pid}", doing)
        )

    if not rows:
        return "The driver is not known."

    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        + "  "
        + row[3]
        for row in rows
    )


def driver_doing(snapshot: Snapshot, driver: Driver) -> str:
    if has_ended(snapshot):
        return "has ended"

    return driver.waiting_on or "its stack was not seen"


def has_ended(snapshot: Snapshot) -> bool:
    return snapshot.job.has_ended


def controller_doing(controller: Controller) -> str:
    """Return state and what it waits on, as one clause."""
    if controller.state == "unknown":
        state = "did not answer" if controller.asked else "was not asked"
        return f"{state}, waits on {controller.waiting_on}" if controller.waiting_on else state

    if controller.waiting_on is None:
        return controller.state

    polls = "" if controller.state == "RUNNING" else "waits on "
    return f"{controller.state}, {polls}{controller.waiting_on}"


def ranks(snapshot: Snapshot, style: Style) -> str:
    if not snapshot.workers:
        return "No workers."

    culprits = {rank for finding in snapshot.findings for rank in finding.ranks}
    ordered = sorted(
        snapshot.workers,
        key=lambda worker: (worker.rank not in culprits, worker.rank is None, worker.rank or 0),
    )
    shown = ordered if len(ordered) <= _MAX_RANKS else ordered[:_MAX_RANKS]
    shown = sorted(shown, key=lambda worker: (worker.rank is None, worker.rank or 0))
    hosts = without_domain(_host_of(worker) for worker in shown)
    cuts = {NODE: keep_apart(hosts.values(), cut_middle), FUNCTION: cut_end, PLACE: cut_front}
    text = table(_HEADS, [_cells(worker, culprits, hosts) for worker in shown], cuts=cuts)
    lines = text.split("\n")
    painted = [style.paint(lines[0], "dim")] + [
        style.paint(line, "red") if worker.rank in culprits else line
        for line, worker in zip(lines[1:], shown, strict=True)
    ]
    hidden = len(ordered) - len(shown)
    rest = [f"… and {hidden} more ranks (--json has all)"] if hidden else []
    return "\n".join([*painted, *rest])


def _host_of(worker: Worker) -> str:
    return worker.hostname or worker.node_ip


def _cells(worker: Worker, culprits: set[int], hosts: Mapping[str, str]) -> tuple[str, ...]:
    function = worker.function
    rank = "–" if worker.rank is None else str(worker.rank)
    step = "–" if worker.step is None else str(worker.step)
    return (
        f"{rank:>{len('rank')}}" + (" ✗" if worker.rank in culprits else ""),
        hosts[_host_of(worker)],
        ",".join(str(gpu.slot) for gpu in worker.gpus) or "–",
        str(worker.pid or "–"),
        f"{worker.actor_id[:6]}",
        function.name if function else "–",
        f"{function.file.rpartition('/')[2]}:{function.line}" if function else "",
        _phase_of(worker),
        f"{step:>{len('step')}}",
        "–" if worker.idle_s is None else duration(worker.idle_s),
    )


def _phase_of(worker: Worker) -> str:
    if worker.state == "alive":
        return worker.phase

    return worker.state if worker.phase == "unknown" else f"{worker.phase} ({worker.state})"


def deepspeed_lines(snapshot: Snapshot) -> list[str]:
    """Return each distinct engine once, with the ranks that run it."""
    by_digest: dict[str, list[Worker]] = {}

    for worker in snapshot.workers:
        if worker.deepspeed is not None:
            by_digest.setdefault(worker.deepspeed.config_digest, []).append(worker)

    lines = []

    for workers in by_digest.values():
        who = [name_ranks([worker.rank for worker in workers])] if len(by_digest) > 1 else []
        engine = workers[0].deepspeed
        assert engine is not None
        lines += wrap("DeepSpeed   ", [*who, *facts_of(engine)], " · ")

    if not lines and not has_ended(snapshot):
        whys = Counter(worker.evidence.deepspeed for worker in snapshot.workers)
        lines += [f"DeepSpeed   not known: {why}" for why, _ in whys.most_common(1)]

    return lines


def facts_of(engine: DeepSpeed) -> list[str]:
    several = engine.gradient_accumulation_steps > 1
    facts = [
        engine.version,
        f"ZeRO-{engine.zero_stage}",
        engine.dtype,
        f"micro batch {engine.micro_batch_size}"
        + (f" × {engine.gradient_accumulation_steps} accumulated" if several else ""),
        engine.optimizer or "no optimizer",
        f"offload {engine.offload}" if engine.offload else "",
        f"{engine.parameters:,} parameters" if engine.parameters is not None else "",
        f"config {engine.config_digest[:8]}",
    ]
    return [fact for fact in facts if fact]


def _finding_lines(snapshot: Snapshot, style: Style) -> list[str]:
    """Return each finding with what it rests on; the headline is not repeated."""
    lines = []

    for number, finding in enumerate(snapshot.findings):
        cause = style.paint(finding.cause, "bold")
        said = finding.summary == snapshot.verdict.summary
        lines.append(
            f"{'also' if number else 'cause':<12}{cause}" + ("" if said else f": {finding.summary}")
        )
        lines += _evidence_of(finding)

    return lines


def _evidence_of(finding: Finding) -> list[str]:
    shown = finding.evidence[:_MAX_EVIDENCE]
    return [
        *(f"{'' if number else 'because':<12}{line}" for number, line in enumerate(shown)),
        f"{'next':<12}{finding.next_step}",
    ]


def evidence_lines(snapshot: Snapshot, style: Style) -> list[str]:
    """Return one line on what answered, then one for each kind of thing that did not."""
    lines = [style.paint(f"evidence    {_answered(snapshot)}", "dim")]
    workers = () if has_ended(snapshot) else snapshot.workers
    controller = {worker.evidence.controller for worker in workers} - {OK}
    lines += [f"no answer   controller: {why}" for why in sorted(controller)[:1]]
    there = [worker for worker in workers if worker.pid]
    lines += _silent("stack", [(worker.rank, worker.evidence.stack) for worker in there])
    lines += _silent("answer", [(worker.rank, worker.evidence.worker) for worker in workers])
    lines += _silent("env", [(worker.rank, worker.evidence.env) for worker in there])
    lines += [f"note        {note}" for note in snapshot.notes]
    return lines


def _answered(snapshot: Snapshot) -> str:
    workers, took = snapshot.workers, f"taken in {duration(snapshot.took_s)}"

    if has_ended(snapshot):
        return f"only Ray's tables, as nothing of the job is running any more · {took}"

    if not workers:
        return f"no ranks to ask yet · {took}"

    stacks = sum(worker.evidence.stack == OK for worker in workers)
    calls = sum(worker.evidence.worker == OK for worker in workers)
    pause_ms = max(worker.pause_ms for worker in workers)
    return (
        f"{calls}/{len(workers)} ranks answered, {stacks}/{len(workers)} stacks · "
        f"paused for at most {pause_ms:.1f} ms · {took}"
    )


def _silent(what: str, whys: Sequence[tuple[int | None, str]]) -> Iterator[str]:
    """Yield a line for each reason why something is missing, with the ranks that lack it."""
    by_why: dict[str, list[int | None]] = {}

    for rank, why in whys:
        if why != OK:
            by_why.setdefault(why, []).append(rank)

    for why, ranks_of_it in by_why.items():
        yield f"no {what:<8} {name_ranks(ranks_of_it)}: {why}"
