"""`launch` as text: the command, the variables beside the live ones, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from dsray_inspect.agent.launch.plan import (
    Contrast,
    Fate,
    LauncherName,
    LaunchPlan,
    LiveKind,
    LiveVariable,
    PlannedNode,
    PlannedVariable,
)
from dsray_inspect.agent.text.env import written
from dsray_inspect.agent.text.humanize import compact, count
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.table import table
from dsray_inspect.agent.text.truncate import cut_middle, wrap

_TITLES: Final[Mapping[LauncherName, str]] = {
    "torchrun": "torchrun",
    "deepspeed": "deepspeed",
    "mpirun": "mpirun",
    "trainjob": "a TrainJob",
    "mpijob": "an MPIJob",
    "rayjob": "a RayJob",
}
_NOW: Final[Mapping[LiveKind, str]] = {
    "ray_train": "Ray Train",
    "ray_actors": "Ray",
    "torchrun": "torchrun",
    "deepspeed": "deepspeed",
    "mpi": "mpirun",
    "slurm": "Slurm",
    "processes": "its start",
}
_FATES: Final[tuple[tuple[Fate, str], ...]] = (
    ("passed_on", "yours, to be passed on"),
    ("inherited", "inherited now: needed where the other launcher starts"),
    ("set_again", "set again, by whom it is now"),
    ("gone", "gone: nothing sets it"),
)
_CAVEAT = "An explanation, not a migration: nothing was started, and the notes say what is missing."
_FEW = 4
_WIDEST_VALUE = 40
_BETWEEN = "  "


def launch_text(plan: LaunchPlan, style: Style = PLAIN) -> str:
    """Return the whole plan."""
    sections = (
        _head(plan, style),
        _commands(plan, style),
        *(_file(file.name, file.text, style) for file in plan.files),
        _variables(plan, style),
        _others(plan, style),
        _contrasts(_lost_title(plan), plan.lost, style),
        _contrasts("what is different", plan.changed, style),
        _notes(plan.notes, style),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _head(plan: LaunchPlan, style: Style) -> list[str]:
    where = ", ".join((count(plan.world_size, "rank"), count(len(plan.nodes), "node")))
    title = f"{plan.job.label} as {_TITLES[plan.launcher]}: {where}"
    return [style.paint(title, "bold"), _CAVEAT, *_nodes(plan.nodes)]


def _nodes(nodes: Sequence[PlannedNode]) -> list[str]:
    rows = [
        (
            node.hostname or node.ip,
            node.ip,
            compact(node.ranks),
            "not reserved" if node.cpus is None else f"{node.cpus:g}",
            "not reserved" if node.gpus is None else f"{node.gpus:g}",
        )
        for node in nodes
    ]
    heads = ("node", "address", "ranks now", "CPUs", "GPUs")
    return ["", *table(heads, rows, indent="  ").split("\n")]


def _commands(plan: LaunchPlan, style: Style) -> list[str]:
    lines = [style.paint("command", "bold")]

    for command in plan.commands:
        if len(plan.commands) > 1:
            lines.append(f"  # on {command.node_ip}")

        lines.append(f"  {command.line}")

    return lines


def _file(name: str, text: str, style: Style) -> list[str]:
    return [style.paint(name, "bold"), *text.rstrip("\n").split("\n")]


def _variables(plan: LaunchPlan, style: Style) -> list[str]:
    """Return one row per variable, its values over all ranks folded."""
    names = dict.fromkeys(name for rank in plan.ranks for name in rank.env)
    rows = [
        _row([rank.env[name] for rank in plan.ranks if name in rank.env], name) for name in names
    ]
    heads = ("variable", "value", "set by", "now", "set now by")
    cuts = {1: cut_middle, 3: cut_middle}
    lines = [
        style.paint("each rank's variables", "bold"),
        *table(heads, rows, indent="  ", cuts=cuts).split("\n"),
    ]

    if plan.own_prefixes:
        prefixes = ", ".join(f"{prefix}*" for prefix in plan.own_prefixes)
        lines.append(f"  and others for its own use: {prefixes}")

    return lines


def _row(variables: Sequence[PlannedVariable], name: str) -> tuple[str, str, str, str, str]:
    first = variables[0]
    planned = [variable.value for variable in variables if variable.value is not None]
    live = [variable.live for variable in variables if variable.live is not None]
    source = next((variable.live_source for variable in variables if variable.live_source), None)
    value = folded(planned) if planned else f"({first.note})"
    return name, value, first.set_by, folded(live) if live else "–", source or ""


def folded(values: Iterable[str]) -> str:
    """Return the values of all ranks as one: "0-7", "a, b" or "(9 values)"."""
    known = list(dict.fromkeys(values))

    if len(known) > 1 and all(value.isdecimal() for value in known):
        return compact(sorted(int(value) for value in known)).replace(" ", "")

    shown = " | ".join(written(value, whole=True) for value in known)
    is_short = len(known) == 1 or (len(known) <= _FEW and len(shown) <= _WIDEST_VALUE)
    return shown if is_short else f"({len(known)} values)"


def _others(plan: LaunchPlan, style: Style) -> list[str]:
    lines: list[str] = []

    for fate, title in _FATES:
        found = [variable for variable in plan.others if variable.fate == fate]

        if found:
            lines += ["", style.paint(title, "bold")] if lines else [style.paint(title, "bold")]
            lines += _by_source(found)

    return lines


def _by_source(variables: Sequence[LiveVariable]) -> list[str]:
    lines = []

    for source in dict.fromkeys(variable.source for variable in variables):
        pairs = [
            f"{variable.name}={cut_middle(folded(variable.values), _WIDEST_VALUE)}"
            for variable in variables
            if variable.source == source
        ]
        lines += wrap(f"  {source:<12} ", pairs, _BETWEEN)

    return lines


def _lost_title(plan: LaunchPlan) -> str:
    return f"what {_NOW[plan.live_kind]} does that {_TITLES[plan.launcher]} will not"


def _contrasts(title: str, rows: Sequence[Contrast], style: Style) -> list[str]:
    """Return each topic with what is, and below it what would be."""
    if not rows:
        return []

    width = max(len(row.topic) for row in rows)
    lines = [style.paint(title, "bold")]

    for row in rows:
        lines += wrap(f"  {row.topic:<{width}}  now: ", row.live.split(), " ")
        lines += wrap(f"  {'':<{width}}  then: ", row.other.split(), " ")

    return lines


def _notes(notes: Sequence[str], style: Style) -> list[str]:
    if not notes:
        return []

    lines = [style.paint("notes", "bold")]

    for note in notes:
        lines += wrap("  - ", note.split(), " ")

    return lines
