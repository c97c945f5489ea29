"""`doctor` as text: the answer, the cluster, one line per node, then what to paste."""

from __future__ import annotations

from dsray_inspect.agent.doctor.facts import NodeCheck
from dsray_inspect.agent.doctor.report import (
    RUNGS,
    ClusterReport,
    Diagnosis,
    Fix,
    NodeAccess,
    Rung,
    listed,
    name_list,
)
from dsray_inspect.agent.doctor.rights import NodeRights
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.table import table

NAMES = {
    "gcs": "GCS",
    "controller": "controller",
    "in_process": "in-process",
    "stacks": "stacks",
    "native_stacks": "native",
    "memory": "memory",
    "environ": "environ",
    "gpu": "GPU",
}
HEADS = ("node", *NAMES.values())
WORDS = {"ok": "ok", "no": "no", "off": "off", "none": "–"}
_GIVEN = {
    **NAMES,
    "stacks": "stacks",
    "native_stacks": "native stacks",
    "memory": "memory reads",
    "environ": "the environment",
}
_FEW = 3


def diagnosis_text(diagnosis: Diagnosis, style: Style = PLAIN) -> str:
    """Return the complete report."""
    is_complete = diagnosis.problem is None and not any(node.lacks for node in diagnosis.nodes)
    color = "green" if is_complete else "red" if diagnosis.exit_code else "yellow"
    lines = [style.paint(diagnosis.summary, "bold", color)]

    if diagnosis.problem is not None:
        lines.append(f"  {diagnosis.problem.fix}")

    lines += ["", style.paint(_cluster_line(diagnosis.cluster), "dim")]
    lines += [style.paint(line, "dim") for line in _missing_lines(diagnosis.cluster)]
    lines += [""]
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


def _missing_lines(cluster: ClusterReport) -> list[str]:
    """Return what is known to be missing with the cluster's version of Ray."""
    if not cluster.lacks:
        return []

    head = f"Ray {cluster.ray or cluster.our_ray} gives less than the newest (docs/versions.md):"
    return [head, *(f"  · {lost}" for lost in cluster.lacks)]


def _nodes_table(nodes: tuple[NodeAccess, ...], style: Style) -> list[str]:
    lines = table(HEADS, [_cells(node) for node in nodes]).split("\n")
    painted = [
        style.paint(line, "yellow" if node.gives_stacks else "red") if node.lacks else line
        for node, line in zip(nodes, lines[1:], strict=True)
    ]
    grouped: dict[tuple[str, ...], list[str]] = {}

    for node in nodes:
        if node.facts is not None and node.rights is not None:
            notes = _circumstances(node, node.facts, node.rights)
            grouped.setdefault(notes, []).append(node.hostname)

    told = [
        f"{'' if number else f'{name_list(names)}: '}{note}"
        for notes, names in grouped.items()
        for number, note in enumerate(notes)
    ]
    return [style.paint(lines[0], "dim"), *painted, *(style.paint(note, "dim") for note in told)]


def _cells(node: NodeAccess) -> tuple[str, ...]:
    return (
        node.hostname,
        *(_word(name, node.rungs[name], node) for name in RUNGS),
    )


def _word(name: str, rung: Rung, node: NodeAccess) -> str:
    if name == "gpu" and rung.state == "ok" and node.facts is not None:
        return str(node.facts.gpus)

    return WORDS[rung.state]


def _circumstances(node: NodeAccess, facts: NodeCheck, rights: NodeRights) -> tuple[str, ...]:
    """Return what decides whether a node's processes can be read: how, with which rights, in what pod."""
    parts = (
        "read from here" if node.seen_from == "here" else "read by a reader there",
        f"py-spy {facts.pyspy_version or '?'}" if facts.pyspy else "no py-spy",
        _users(facts),
        _capabilities(rights),
        "no_new_privs" if rights.no_new_privs else "",
        "" if rights.seccomp == "none" else f"seccomp {rights.seccomp}",
        "no Yama" if rights.yama is None else f"Yama {rights.yama}",
        rights.security_label,
    )
    return (_joined(parts), *_pod(rights, facts))


def _joined(parts: tuple[str, ...]) -> str:
    return ", ".join(part for part in parts if part)


def _capabilities(rights: NodeRights) -> str:
    """Return what a process may do beyond its user: SYS_PTRACE first, which is what reading asks for."""
    names = rights.capabilities

    if not names:
        return "no capabilities"

    if len(names) <= _FEW:
        return f"capabilities {listed(list(names))}"

    has_it = "SYS_PTRACE" in names
    return f"{len(names)} capabilities, SYS_PTRACE {'included' if has_it else 'not included'}"


def _pod(rights: NodeRights, facts: NodeCheck) -> tuple[str, ...]:
    """Return what a container shows of its surroundings, nothing on a plain machine."""
    if not facts.container:
        return ()

    ray = "with" if rights.sees_ray else "without"
    parts = (
        f"process namespace {'shared by the pod' if rights.shares_processes else 'of its own'}, {ray} Ray",
        "read-only root" if rights.root_read_only else "writable root",
        _pod_security(rights),
    )
    return (f"  {_joined(parts)}",)


def _pod_security(rights: NodeRights) -> str:
    security = rights.pod_security

    if security is None:
        return ""

    because = f" ({', '.join(security.because)})" if security.because else ""

    if security.level == "privileged":
        return f"Pod Security level privileged{because}"

    return f"Pod Security level unknown, at most {security.at_most}{because}"


def _users(facts: NodeCheck) -> str:
    if facts.target is None or facts.target.uid == facts.me.uid:
        return f"user {facts.me.uid}"

    return f"user {facts.me.uid} (workers: {facts.target.uid})"


def _fix_lines(fix: Fix, of: int, style: Style) -> list[str]:
    """Return what is wrong, what the smallest change would give, and the lines to paste for it."""
    where = "" if of == 1 or not fix.nodes else f"{name_list(list(fix.nodes))}: "
    gain = (
        f"gives {listed([_GIVEN[name] for name in fix.gives])}" if fix.gives else "",
        f"admitted at the Pod Security level {fix.admitted_at}" if fix.admitted_at else "",
    )
    said = _joined(gain)
    return [
        style.paint(f"{where}{fix.what}", "bold"),
        *([style.paint(f"  smallest change: {said}", "dim")] if said else []),
        *(f"  {line}".rstrip() for line in fix.lines),
    ]
