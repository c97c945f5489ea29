"""The environment across ranks: what differs and should not, first; secrets stay redacted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar

from dsray_inspect.agent.environment import Difference, differences
from dsray_inspect.agent.model import EnvVar, Snapshot
from dsray_inspect.agent.text.env import SOURCES, written
from dsray_inspect.agent.text.humanize import name_ranks
from dsray_inspect.agent.text.truncate import cut_end, cut_middle
from dsray_inspect.tui.rows import Cell, Look, Part, Row, blank, fitted, heading, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.view_state import ViewState


class EnvView(View):
    VIEW: ClassVar[str] = "env"

    def __init__(self) -> None:
        super().__init__()
        self._known: tuple[tuple[int, ...], list[Row]] | None = None

    def crumbs(self) -> Sequence[str]:
        return ("Environment",)

    def rows(self, snapshot: Snapshot, _story: ViewState) -> list[Row]:
        """Return the rows; they are the same as before while no rank's variables are others."""
        made_of = tuple(id(one.env) for one in snapshot.workers)

        if self._known is None or self._known[0] != made_of:
            self._known = (made_of, environment(snapshot))

        return self._known[1]


def environment(snapshot: Snapshot) -> list[Row]:
    """Return the rows of the whole view."""
    seen = {one.rank: one.env for one in snapshot.workers if one.rank is not None and one.env}

    if not seen:
        whys = sorted({one.evidence.env for one in snapshot.workers})
        why = whys[0] if whys else "there are no ranks"
        return [row("", (f" No environment was read: {why}.", "dim"))]

    found = differences(seen)
    differing = {one.name for one in (*found.drift, *found.expected)}
    rows = list(drift(found.drift, len(seen)))
    rows += differing_rows("differs as expected", found.expected, "")
    rows += same(next(iter(seen.values())), differing)
    missing = [one.rank for one in snapshot.workers if not one.env]
    rows += [row("", (f" ? not read: {name_ranks(missing)}", "warning"))] if missing else []
    return rows


def drift(found: Sequence[Difference], ranks: int) -> Iterator[Row]:
    if found:
        yield from differing_rows("differs where it should not", found, "warning")
    else:
        text = f" ● Nothing differs that should not ({ranks} rank{'s' if ranks > 1 else ''})."
        yield from (row("", (text, "success")), blank())


def differing_rows(title: str, found: Sequence[Difference], look: Look) -> list[Row]:
    if not found:
        return []

    rows = [heading(title)]

    for difference in found:
        for number, value in enumerate(difference.values):
            shown = "not set" if value.value is None else written(value.value, whole=True)
            cells = [
                Cell(" !" if look and not number else "", look),
                Cell(difference.name if not number else "", look or "bold", cut_middle),
                Cell(name_ranks(value.ranks), "", cut_end),
                Cell(shown, "dim" if value.value is None else ""),
                Cell(value.source or "", "dim"),
            ]
            text = f"{difference.name} {shown} {value.source or ''} {name_ranks(value.ranks)}"
            copy = f"{difference.name}={shown}"
            rows.append(Row(f"{difference.name} {number}", partial(drawn, cells), "", text, copy))

    return [*rows, blank()]


def drawn(cells: Sequence[Cell], width: int) -> list[Part]:
    name = 28 if width < 120 else 40
    return fitted(cells, [2, name, 14, max(10, width - 2 - name - 14 - 12 - 10), 12])


def same(env: Mapping[str, EnvVar], differing: set[str]) -> list[Row]:
    """Return the variables that all ranks have alike, by who set them."""
    rows: list[Row] = []

    for source in SOURCES:
        names = sorted(n for n, one in env.items() if one.source == source and n not in differing)

        if names:
            rows.append(heading(f"the same on all ranks, set by {source}", str(len(names))))

        for name in names:
            value = written(env[name].value, whole=True)
            copy = f"{name}={value}"
            rows.append(row(name, (f"   {name}", "bold"), ("=", "dim"), (value, ""), copy=copy))

        rows += [blank()] if names else []

    return rows
