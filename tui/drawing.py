"""Shared pieces of drawing: frames of a stack, strips of phases, lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsray_inspect.agent.model import Frame, Phase
from dsray_inspect.agent.text.humanize import duration
from dsray_inspect.agent.text.stacks import place_of
from dsray_inspect.agent.text.truncate import cut_end, cut_path, cut_qualname
from dsray_inspect.tui.rows import Part, StyleName, joined, width_of

WIDE = 100
"""Columns from which a screen has room for more than the essentials."""
STRIP_LEFT, STRIP_RIGHT = 16, 20
"""Columns beside a strip: the rank at the left, its step and status at the right."""
LAYER_STYLES: Mapping[str, StyleName] = {
    "user": "user",
    "collective": "collective",
    "deepspeed": "deepspeed",
    "torch": "torch",
    "ray": "ray",
    "ray_train": "ray",
}
PHASE_LETTERS: Mapping[Phase, Part] = {
    "starting": ("s", "accent"),
    "init_process_group": ("i", "accent"),
    "deepspeed_init": ("D", "accent"),
    "op_compile": ("C", "accent"),
    "data": ("d", "warm"),
    "forward": ("f", "success"),
    "backward": ("b", "cool"),
    "grad_reduce": ("r", "collective"),
    "zero_gather": ("g", "collective"),
    "optimizer_step": ("o", "deepspeed"),
    "checkpoint": ("k", "warning"),
    "report": ("p", "warning"),
    "collective": ("c", "collective"),
    "user": ("u", "user"),
    "finished": ("·", "dim"),
    "unknown": ("?", "dim"),
}
_ABSENT: Part = (" ", "dim")
_RESTARTED: Part = ("↻", "warning")
_LAST_COLUMN = 12
"""Columns of a frame's layer or duration."""


def drawn_frame(
    lead: str, name: str, frame: Frame, style: StyleName, idle_s: float | None, width: int
) -> list[Part]:
    """Return a frame in columns: name, place, and its layer or how long the thread has been in it."""
    is_wide = width >= WIDE
    place_width = 28 if is_wide else 20
    room = width - len(lead) - place_width - _LAST_COLUMN - 5
    name_width = max(8, min(room, 64 - len(lead)) if is_wide else room)
    parts: list[Part] = [
        (lead, "dim"),
        (f"{cut_qualname(name, name_width):<{name_width}}  ", style),
        (
            f"{cut_path(place_of(frame), place_width):<{place_width}}  ",
            "" if frame.layer == "user" else "dim",
        ),
    ]

    if idle_s is None or idle_s < 1:
        return [*parts, (frame.layer, "dim")]

    here = "here for " if is_wide else ""
    return [*parts, (f"← {here}{duration(idle_s)}", "warning")]


def function_name(frame: Frame) -> str:
    """Return the qualified name of a frame's function, without the function that it is local to."""
    return (frame.qualname or frame.name).rpartition("<locals>.")[2]


def phase_strip(
    phases: Sequence[Phase | None],
    room: int,
    *,
    per_cell: int = 1,
    restarts: frozenset[int] = frozenset(),
) -> list[Part]:
    """Return phases as letters, the newest at the right.

    Args:
        phases: The phase at each snapshot; None where the rank was absent.
        room: The number of cells there is room for; older snapshots are left out.
        per_cell: The snapshots in a cell, which shows their most common phase.
        restarts: The snapshots at which the rank had a new process.
    """
    first = max(0, len(phases) - room * per_cell)
    return joined(
        _RESTARTED
        if any(start <= restart < start + per_cell for restart in restarts)
        else _phase_cell(phases[start : start + per_cell])
        for start in range(first, len(phases), per_cell)
    )


def _phase_cell(phases: Sequence[Phase | None]) -> Part:
    known = [phase for phase in phases if phase is not None]
    return PHASE_LETTERS[max(known, key=known.count)] if known else _ABSENT


def both_ends(left: Sequence[Part], right: Sequence[Part], width: int) -> list[Part]:
    """Return parts at both ends of one line; the left ones are cut when there is no room."""
    room = width - width_of(right) - 1
    shown: list[Part] = []

    for text, style in left:
        free = room - width_of(shown)

        if free > 0:
            shown.append((cut_end(text, free), style))

    return [*shown, (" " * max(1, width - width_of(shown) - width_of(right)), ""), *right]


def wrapped(text: str, width: int, max_lines: int) -> list[str]:
    """Break a text between words; the last line is cut when there are more than `max_lines`."""
    lines: list[str] = []
    rest = text

    while rest and len(lines) < max_lines - 1 and len(rest) > width:
        cut = rest.rfind(" ", 0, width + 1)
        cut = cut if cut > 0 else width
        lines.append(rest[:cut])
        rest = rest[cut:].lstrip()

    return [*lines, cut_end(rest, max(1, width))] if rest else lines or [""]
