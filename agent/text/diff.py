"""`diff` as text: what differs and matters, then in grey what any two runs differ in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from dsray_inspect.agent.differences import (
    Because,
    DiffDocument,
    Difference,
    Kind,
    SideSummary,
    Value,
)
from dsray_inspect.agent.text.humanize import count, duration, name_ranks
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.truncate import wrap

_HEAD: Final = 12
_LONG: Final = 44
"""Values that are longer stand below each other."""
_MOST: Final = 8
"""How many names of difference kind are listed before the rest is counted."""
_BETWEEN: Final = "  "
_TITLES: Final[dict[Kind, str]] = {
    "config": "config",
    "env": "env",
    "command": "command",
    "version": "version",
    "world": "world",
    "model": "model",
    "verdict": "verdict",
    "finding": "finding",
    "place": "stands",
    "frame": "stack",
    "group": "group",
    "node": "node",
    "gpu": "GPU",
    "figure": "figure",
}
_NAMES: Final[dict[tuple[Kind, str], str]] = {
    ("command", "entrypoint"): "",
    ("verdict", "state"): "",
    ("place", "at"): "",
    ("frame", "first"): "first other frame",
    ("world", "size"): "ranks",
    ("node", "placement"): "ranks by node",
    ("node", "lost"): "lost nodes",
    ("figure", "step_s"): "a step",
    ("figure", "startup_s"): "start-up",
    ("figure", "rss_bytes"): "memory",
    ("figure", "gpu_memory_bytes"): "GPU memory",
    ("figure", "step"): "step",
    ("figure", "idle_s"): "idle",
}
_REASONS: Final[dict[Because, str]] = {
    "moment": "of the moment",
    "small": "nearly the same",
    "world_size": "follows from the number of ranks",
    "owner": "the same value, set by another",
    "device": "which devices Ray gave",
    "host": "hosts have other names",
    "port": "ports",
    "made_up": "ids, times, temporary paths",
    "per_process": "of each process",
    "per_node": "of each node",
    "ray_session": "of each Ray session",
}


def diff_text(document: DiffDocument, style: Style = PLAIN) -> str:
    """Return a document of differences as text."""
    lines = [*_sides(document, style), ""]

    if document.differences:
        lines += _differences(document.differences, style)
    else:
        lines += [style.paint(_nothing(document), "bold")]

    lines += _missing(document)
    lines += _expected(document.expected, style)
    return "\n".join(lines)


def _sides(document: DiffDocument, style: Style) -> Iterator[str]:
    sides = (document.a, document.b)
    names = max(len(_printable(side.name)) for side in sides)
    states = max(len(side.verdict.state) for side in sides)

    for mark, side in zip("AB", sides, strict=True):
        state = style.state(f"{side.verdict.state.upper():<{states}}", side.verdict.state)
        yield f"{mark}  {_printable(side.name):<{names}}  {state}  {_about(side)}"


def _about(side: SideSummary) -> str:
    parts = [_printable(side.job) if side.job != side.name else "", count(side.ranks, "rank")]
    parts += [f"step {side.step}"] if side.step is not None else []
    parts += [f"{duration(side.after_s)} after its first sample"] if side.after_s >= 0.05 else []
    parts += ["public"] if side.public else []
    return " · ".join(part for part in parts if part)


def _nothing(document: DiffDocument) -> str:
    compared = document.compared

    if not compared.ranks:
        return "Nothing differs, but the sides have no rank in common."

    seen = (
        count(compared.ranks, "rank"),
        count(compared.variables, "variable"),
        count(compared.settings, "DeepSpeed setting"),
        count(compared.packages, "package"),
    )
    return f"Nothing differs that matters: {', '.join(seen)} compared."


def _differences(differences: Sequence[Difference], style: Style) -> Iterator[str]:
    for kind, group in itertools.groupby(differences, key=lambda difference: difference.kind):
        found = list(group)
        width = max(len(_name(difference)) for difference in found)
        title = style.paint(f"{_TITLES[kind]:<{_HEAD}}", "bold")

        for difference in found:
            yield from _lines(title, f"{_name(difference):<{width}}", difference)
            title = " " * _HEAD


def _lines(title: str, name: str, difference: Difference) -> Iterator[str]:
    """Yield one line, or two where the values are long."""
    ranks = f"{name_ranks(difference.ranks)}:" if difference.ranks else ""
    label = _BETWEEN.join(part for part in (name, ranks) if part.strip())
    a, b = _shown(difference.a, difference), _shown(difference.b, difference)

    if max(len(a), len(b)) <= _LONG:
        yield f"{title}{label}{' ' if ranks else _BETWEEN if label else ''}{a} → {b}{_factor(difference)}"
        return

    gap = f"{label}{_BETWEEN}" if label else ""
    yield f"{title}{gap}A  {a}"
    yield f"{'':<{_HEAD + len(gap)}}B  {b}"


def _name(difference: Difference) -> str:
    return _printable(_NAMES.get((difference.kind, difference.name), difference.name))


def _shown(value: Value | None, of: Difference) -> str:
    if value is None:
        return "not set" if of.kind in ("env", "config") else "none"

    text = _printable(value.text) or '""'
    return f"{text} ({value.source})" if value.source else text


def _printable(text: str) -> str:
    """Return a text on one line, with nothing in it that a terminal would obey."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def _factor(difference: Difference) -> str:
    numbers = [
        value.number for value in (difference.a, difference.b) if value is not None and value.number
    ]
    return f" ({max(numbers) / min(numbers):.1f} ×)" if len(numbers) > 1 else ""


def _missing(document: DiffDocument) -> list[str]:
    """Return what cannot be compared, by the reason; of all ranks where none are named."""
    by_reason: dict[str, list[str]] = {}

    for missing in document.not_compared:
        is_all = len(missing.ranks) in (0, document.compared.ranks)
        ranks = "" if is_all else f" ({name_ranks(missing.ranks)})"
        by_reason.setdefault(missing.why, []).append(missing.what + ranks)

    lines: list[str] = []

    for why, whats in by_reason.items():
        lines += wrap("  ", [f"{_printable(why)}:", *_enumerated(whats)], " ")

    return ["", "not compared", *lines] if lines else []


def _expected(expected: Sequence[Difference], style: Style) -> list[str]:
    by_reason: dict[Because, list[str]] = {}

    for difference in expected:
        if difference.because is not None:
            names = by_reason.setdefault(difference.because, [])
            names += [_label(difference)] if _label(difference) not in names else []

    lines: list[str] = []

    for because, reason in _REASONS.items():
        if because in by_reason:
            lines += wrap("  ", [f"{reason}:", *_enumerated(by_reason[because])], " ")

    if not lines:
        return []

    return ["", *(style.paint(line, "dim") for line in ("differs, as expected", *lines))]


def _label(difference: Difference) -> str:
    return (
        f"group {_name(difference)}"
        if difference.kind == "group"
        else _name(difference) or _TITLES[difference.kind]
    )


def _enumerated(names: Sequence[str]) -> list[str]:
    rest = len(names) - _MOST
    shown = [_printable(name) for name in names[:_MOST]]
    shown += [f"and {rest} more"] if rest > 0 else []
    return [*(f"{name}," for name in shown[:-1]), shown[-1]]
