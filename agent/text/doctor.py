"""`doctor` as text: the answer, the cluster, one line per node, then what to paste."""

from __future__ import annotations

from dsray_inspect.agent.doctor.report import (
    RUNGS,
    ClusterReport,
    Diagnosis,
    Fix,
    NodeAccess,
    NodeCheck,
    Rung,
    name_list,
)
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.table import table

HEADS = ("node", "GCS", "controller", "in-process", "py-spy", "environ", "GPU")
WORDS = {"ok": "ok", "no": "no", "off": "off", "none": "–"}


def diagnosis_text(diagnosis: Diagnosis, style: Style = PLAIN) -> str:
    """Return the complete report."""
    is_complete = diagnosis.problem is None and not any(node.lacks for node in diagnosis.nodes)
    color = "green" if is_complete else "red" if diagnosis.exit_code else "yellow"
    lines = [style.paint(diagnosis.summary, "bold", color)]

    if diagnosis.problem is not None:
        lines.append(f"  {diagnosis.problem.fix}")

    lines += ["", style.paint(_cluster_line(diagnosis.cluster), "dim"), ""]
    lines += _nodes_table(diagnosis.nodes, style)

    for fix in diagnosis.fixes:
        lines += ["", *_fix_lines(fix, len(diagnosis.nodes), style)]

    return "\n".join(lines)


def _cluster_line(cluster: ClusterReport) -> str:
    theirs = f"Ray {cluster.ray or '?'}, Python {cluster.python or '?'}"
    same = (cluster.ray, cluster.python) == (cluster.our_ray, cluster.our_python)
    ours = "as here" if same else f"here Ray {cluster.our_ray}, Python {cluster.our_python}"
    token = f"token from {cluster.token}" if cluster.token else "no token needed"
    return f"cluster  {cluster.address} ({cluster.found_by}) · {theirs} ({ours}) · {token}"


def _nodes_table(nodes: tuple[NodeAccess, ...], style: Style) -> list[str]:
    lines = table(HEADS, [_cells(node) for node in nodes]).split("\n")
    painted = [
        style.paint(line, "yellow" if node.gives_stacks else "red") if node.lacks else line
        for node, line in zip(nodes, lines[1:], strict=True)
    ]
    grouped: dict[str, list[str]] = {}

    for node in nodes:
        grouped.setdefault(_circumstances(node), []).append(node.hostname)

    notes = [f"{name_list(names)}: {what}" for what, names in grouped.items() if what]
    return [style.paint(lines[0], "dim"), *painted, *(style.paint(note, "dim") for note in notes)]


def _cells(node: NodeAccess) -> tuple[str, ...]:
    return (
        node.hostname,
        *(_word(name, node.rungs[name], node) for name in RUNGS),
    )


def _word(name: str, rung: Rung, node: NodeAccess) -> str:
    if name == "gpu" and rung.state == "ok" and node.facts is not None:
        return str(node.facts.gpus)

    return WORDS[rung.state]


def _circumstances(node: NodeAccess) -> str:
    """Return the circumstances that decide whether a node's processes can be read."""
    facts = node.facts

    if facts is None:
        return ""

    parts = [
        "read from here" if node.seen_from == "here" else "read by a reader there",
        f"py-spy {facts.pyspy_version or '?'}" if facts.pyspy else "no py-spy",
        _users(facts),
        "SYS_PTRACE" if facts.me.may_ptrace else "no SYS_PTRACE",
        "" if facts.yama is None else f"ptrace_scope {facts.yama}",
        "seccomp filter" if facts.me.seccomp == 2 else "",
    ]
    return ", ".join(part for part in parts if part)


def _users(facts: NodeCheck) -> str:
    if facts.target is None or facts.target.uid == facts.me.uid:
        return f"user {facts.me.uid}"

    return f"user {facts.me.uid} (workers: {facts.target.uid})"


def _fix_lines(fix: Fix, of: int, style: Style) -> list[str]:
    """Return what is wrong, then the lines to paste, indented."""
    where = "" if of == 1 or not fix.nodes else f"{name_list(list(fix.nodes))}: "
    return [
        style.paint(f"{where}{fix.what}", "bold"),
        *(f"  {line}".rstrip() for line in fix.lines),
    ]
