"""The environment across ranks, what differs by mistake first; secrets stay redacted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import is_not
from typing import ClassVar

from dsray_inspect.agent.environment import Difference, differences
from dsray_inspect.agent.model import EnvVar, Snapshot
from dsray_inspect.agent.text.env import SOURCES, written
from dsray_inspect.agent.text.humanize import name_ranks
from dsray_inspect.agent.text.truncate import cut_end, cut_middle
from dsray_inspect.tui.rows import Cell, Part, Row, StyleName, blank, columns, heading, row
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.targets import ViewName
from dsray_inspect.tui.view_state import ViewState


class EnvView(View):
    VIEW: ClassVar[ViewName | None] = "env"

    def __init__(self) -> None:
        super().__init__()
        self._envs: list[dict[str, EnvVar]] | None = None
        self._rows: list[Row] = []

    def crumbs(self) -> Sequence[str]:
        return ("Environment",)

    def rows(self, snapshot: Snapshot, _view_state: ViewState) -> list[Row]:
        """Return the rows; they are made anew only when the variables of a rank have changed."""
        envs = [worker.env for worker in snapshot.workers]

        if self._envs is None or len(envs) != len(self._envs) or any(map(is_not, envs, self._envs)):
            self._envs, self._rows = envs, _env_rows(snapshot)

        return self._rows


def _env_rows(snapshot: Snapshot) -> list[Row]:
    by_rank = {
        worker.rank: worker.env
        for worker in snapshot.workers
        if worker.rank is not None and worker.env
    }

    if not by_rank:
        reasons = sorted({worker.evidence.env for worker in snapshot.workers})
        why = reasons[0] if reasons else "there are no ranks"
        return [row("", (f" No environment was read: {why}.", "dim"))]

    found = differences(by_rank)
    differing = {each.name for each in (*found.drift, *found.expected)}
    rows = list(_drift_rows(found.drift, len(by_rank)))
    rows += _difference_rows("differs, as expected", found.expected, "")
    rows += _common_rows(next(iter(by_rank.values())), differing)
    missing = [worker.rank for worker in snapshot.workers if not worker.env]
    rows += [row("", (f" ? not read: {name_ranks(missing)}", "warning"))] if missing else []
    return rows


def _drift_rows(drift: Sequence[Difference], ranks: int) -> Iterator[Row]:
    if drift:
        yield from _difference_rows("differs, but should not", drift, "warning")
    else:
        text = f" ● No unexpected differences ({ranks} rank{'s' if ranks > 1 else ''})."
        yield from (row("", (text, "success")), blank())


def _difference_rows(title: str, found: Sequence[Difference], style: StyleName) -> list[Row]:
    if not found:
        return []

    rows = [heading(title)]

    for difference in found:
        for number, value in enumerate(difference.values):
            shown = "not set" if value.value is None else written(value.value, whole=True)
            cells = [
                Cell(" !" if style and not number else "", style),
                Cell(difference.name if not number else "", style or "bold", cut_middle),
                Cell(name_ranks(value.ranks), "", cut_end),
                Cell(shown, "dim" if value.value is None else ""),
                Cell(value.source or "", "dim"),
            ]
            text = f"{difference.name} {shown} {value.source or ''} {name_ranks(value.ranks)}"
            key = f"{difference.name} {number}"
            copy = difference.name if value.value is None else f"{difference.name}={shown}"
            rows.append(Row(key, partial(_draw_value, cells), None, text, copy))

    return [*rows, blank()]


def _draw_value(cells: Sequence[Cell], width: int) -> list[Part]:
    name = 28 if width < 120 else 40
    return columns(cells, [2, name, 14, max(10, width - 2 - name - 14 - 12 - 10), 12])


def _common_rows(env: Mapping[str, EnvVar], differing: set[str]) -> list[Row]:
    """Return the variables that are equal on all ranks, grouped by who set them."""
    rows: list[Row] = []

    for source in SOURCES:
        names = sorted(
            name
            for name, variable in env.items()
            if variable.source == source and name not in differing
        )

        if names:
            rows.append(heading(f"the same on all ranks, set by {source}", str(len(names))))

        for name in names:
            value = written(env[name].value, whole=True)
            copy = f"{name}={value}"
            rows.append(row(name, (f"   {name}", "bold"), ("=", "dim"), (value, ""), copy=copy))

        rows += [blank()] if names else []

    return rows
