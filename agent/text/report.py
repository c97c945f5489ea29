"""`attach` as text: the verdict, who is who, one line a rank, what could not be seen."""

from __future__ import annotations

from collections import Counter

from dsray_inspect.agent.detectors.findings import duration
from dsray_inspect.agent.model import OK, Controller, Finding, Snapshot, Worker
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.table import table

MAX_RANKS = 64
HEADS = ("rank", "", "node", "GPU", "pid", "actor", "function", "", "phase", "step", "moved")


def report(snapshot: Snapshot, style: Style = PLAIN) -> str:
    """Return the whole report."""
    parts = [
        headline(snapshot, style),
        title(snapshot, style),
        people(snapshot),
        "",
        ranks(snapshot, style),
    ]
    deepspeed = deepspeed_lines(snapshot)
    parts += ["", *deepspeed] if deepspeed else []
    found = finding_lines(snapshot, style)
    parts += ["", *found] if found else []
    parts += ["", *evidence_lines(snapshot, style)]
    return "\n".join(parts)


def headline(snapshot: Snapshot, style: Style) -> str:
    verdict = snapshot.verdict
    return f"{style.state(verdict.state.upper(), verdict.state)}: {verdict.summary}"


def title(snapshot: Snapshot, style: Style) -> str:
    job, run = snapshot.job, snapshot.run
    parts = [job.submission_id or f"job {job.job_id}"]

    if run is not None:
        parts.append(run.name or "run without a name")
        parts += [f"run {run.id[:8]}"] if run.id else []
        parts += [f"attempt {run.attempt[:8]}"] if run.attempt else []
        parts.append(run.state)
    else:
        parts.append(f"no Ray Train run, {job.state}")

    return style.paint(" · ".join(parts), "dim")


def people(snapshot: Snapshot) -> str:
    names = {node.ip: node.hostname for node in snapshot.nodes}
    rows = []

    if snapshot.driver is not None:
        driver = snapshot.driver
        doing = driver.waiting_on or "its stack was not seen"
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
        return "no driver is known"

    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        + "  "
        + row[3]
        for row in rows
    )


def controller_doing(controller: Controller) -> str:
    """Return state and what it waits on, as one clause."""
    if controller.state == "unknown":
        return f"did not answer{f', waits on {controller.waiting_on}' if controller.waiting_on else ''}"

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
        key=lambda one: (one.rank not in culprits, one.rank is None, one.rank or 0),
    )
    shown = ordered if len(ordered) <= MAX_RANKS else ordered[:MAX_RANKS]
    shown = sorted(shown, key=lambda one: (one.rank is None, one.rank or 0))
    text = table(HEADS, [cells(worker, culprits) for worker in shown])
    lines = text.split("\n")
    painted = [style.paint(lines[0], "dim")] + [
        style.paint(line, "red") if worker.rank in culprits else line
        for line, worker in zip(lines[1:], shown, strict=True)
    ]
    hidden = len(ordered) - len(shown)
    rest = [f"… and {hidden} more ranks (--json has all)"] if hidden else []
    return "\n".join([*painted, *rest])


def cells(worker: Worker, culprits: set[int]) -> tuple[str, ...]:
    function = worker.function
    return (
        " –" if worker.rank is None else f"{worker.rank:>2}",
        "✗" if worker.rank in culprits else "",
        worker.hostname or worker.node_ip,
        ",".join(str(gpu.slot) for gpu in worker.gpus) or "–",
        str(worker.pid),
        f"{worker.actor_id[:6]}",
        function.name if function else "–",
        f"{function.file.rpartition('/')[2]}:{function.line}" if function else "",
        worker.phase if worker.state == "alive" else f"{worker.phase} ({worker.state})",
        "–" if worker.step is None else str(worker.step),
        "–" if worker.idle_s is None else duration(worker.idle_s),
    )


def deepspeed_lines(snapshot: Snapshot) -> list[str]:
    """Return one line a distinct engine, with the ranks that run it."""
    by_digest: dict[str, list[Worker]] = {}

    for worker in snapshot.workers:
        if worker.deepspeed is not None:
            by_digest.setdefault(worker.deepspeed.config_digest, []).append(worker)

    lines = []

    for workers in by_digest.values():
        engine = workers[0].deepspeed
        assert engine is not None
        facts = [
            f"{engine.version}",
            f"ZeRO-{engine.zero_stage}",
            engine.dtype,
            f"micro batch {engine.micro_batch_size} × {engine.gradient_accumulation_steps} steps",
            engine.optimizer or "no optimizer",
            f"offload {engine.offload}" if engine.offload else "",
            f"{engine.parameters:,} parameters" if engine.parameters is not None else "",
            f"config {engine.config_digest[:8]}",
        ]
        who = "" if len(by_digest) == 1 else f"   ranks {', '.join(str(w.rank) for w in workers)}"
        lines.append("DeepSpeed   " + " · ".join(fact for fact in facts if fact) + who)

    if not lines:
        whys = Counter(worker.evidence.deepspeed for worker in snapshot.workers)
        lines += [f"DeepSpeed   not known: {why}" for why, _ in whys.most_common(1)]

    return lines


def finding_lines(snapshot: Snapshot, style: Style) -> list[str]:
    lines = []

    for finding in snapshot.findings:
        lines.append(f"{style.paint(finding.cause, 'bold')}   {finding.summary}")
        lines += evidence_of(finding)

    return lines


def evidence_of(finding: Finding) -> list[str]:
    return [
        *(f"  because   {line}" for line in finding.evidence[:4]),
        f"  next      {finding.next_step}",
    ]


def evidence_lines(snapshot: Snapshot, style: Style) -> list[str]:
    """Return one line on what answered, then one a kind of thing that did not."""
    workers = snapshot.workers
    seen = sum(worker.evidence.stack == OK for worker in workers)
    answered = sum(worker.evidence.worker == OK for worker in workers)
    pause = max((worker.pause_ms for worker in workers), default=0.0)
    first = (
        f"evidence    {answered}/{len(workers)} ranks answered, {seen}/{len(workers)} stacks · "
        f"longest pause {pause:.1f} ms · taken in {duration(snapshot.took_s)}"
    )
    lines = [style.paint(first, "dim")]

    controller = {worker.evidence.controller for worker in workers} - {OK}
    lines += [f"no rung 1   controller: {why}" for why in sorted(controller)[:1]]

    for label, whys in (
        ("stack", [worker.evidence.stack for worker in workers]),
        ("rung 2", [worker.evidence.worker for worker in workers]),
        ("env", [worker.evidence.env for worker in workers]),
    ):
        for why, count in Counter(why for why in whys if why != OK).items():
            lines.append(f"no {label:<8} {count} of {len(workers)} ranks: {why}")

    lines += [f"note        {note}" for note in snapshot.notes]
    return lines
