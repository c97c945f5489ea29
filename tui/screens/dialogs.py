"""Dialogs over a view: help, text that was asked for, a question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from dsray_inspect.tui.rank_status import ALL
from dsray_inspect.tui.rows import Row, blank, heading, row
from dsray_inspect.tui.widgets.rows import Rows

KEYS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "views",
        (
            ("1 o", "overview: every rank by node and GPU"),
            ("2 f", "functions: which ranks, nodes and GPUs run them"),
            ("3 c", "stacks: one tree from the driver to the collective"),
            ("4 t", "timeline: each rank's phases, sample by sample"),
            ("5 w", "findings: what is wrong, why, and who waits for whom"),
            ("6 e", "environment: what differs across ranks"),
            ("Tab", "the next view; Shift+Tab: the previous one"),
        ),
    ),
    (
        "moving",
        (
            ("j k ↑ ↓", "one row; g, G: the first, the last; PgUp, PgDn: a page"),
            ("Enter", "open the row under the cursor, or fold and unfold it"),
            ("Esc", "clear the filter, or go back"),
            ("/", "filter: show only rows that contain a text"),
            ("< >", "in a rank: the previous rank, the next rank"),
            ("!", "go to the next rank in trouble"),
        ),
    ),
    (
        "time",
        (
            ("p", "pause or resume; plays or stops a recording"),
            ("[ ]", "one snapshot back, one forward; { and }: ten"),
            ("+ -", "in the timeline: zoom in, zoom out"),
        ),
    ),
    (
        "more",
        (
            ("x", "in stacks and a rank: show every frame"),
            ("l", "local variables; asks first, as it pauses the rank"),
            ("n", "native frames; asks first, as it pauses the rank ~1 s"),
            ("L", "in a rank: the end of its logs, redacted, without a pause"),
            ("y", "copy the row, or the command in it"),
            ("s", "save the window as JSON Lines, for attach --replay"),
            ("S", "save a picture of the screen (SVG)"),
            ("T", "light or dark theme; Ctrl+P, then “theme”, lists more"),
            ("Ctrl+P", "everything by name: views, ranks, actions"),
            ("q", "quit; the job keeps running"),
        ),
    ),
)


class Sheet(ModalScreen[None]):
    """A text to read; `start` is the key of the row to begin with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,backspace", "dismiss", "back"),
    ]

    def __init__(self, title: str, rows: Callable[[int], Sequence[Row]], start: str = "") -> None:
        super().__init__()
        self._title = title
        self._rows = rows
        self._start = start

    def compose(self) -> ComposeResult:
        with Vertical(id="sheet"):
            yield Rows(id="sheet-rows")

    def on_mount(self) -> None:
        box = self.query_one("#sheet", Vertical)
        box.border_title = self._title
        box.border_subtitle = "Esc goes back"
        self.query_one("#sheet-rows", Rows).focus()

    def on_resize(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        rows = self.query_one("#sheet-rows", Rows)
        rows.show(self._rows(rows.size.width))
        rows.go_to(self._start)


def help_rows(_width: int) -> list[Row]:
    """Return all keys, then the meaning of the symbols."""
    rows: list[Row] = []

    for title, keys in KEYS:
        rows.append(heading(title))
        rows += [row(f"key {key}", (f"   {key:<9}", "accent"), (does, "")) for key, does in keys]
        rows.append(blank())

    rows.append(heading("symbols"))
    rows += [
        row(
            f"symbol {status.symbol}",
            (f"   {status.symbol:<9}", status.style),
            (status.meaning, ""),
        )
        for status in ALL
    ]
    return rows


def text_rows(lines: Sequence[str], width: int) -> list[Row]:
    """Return lines of text; long ones are wrapped at their own indentation."""
    rows = []

    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip(" │├└"))
        lead = line[:indent].replace("├", "│").replace("└", " ") + "    "
        room = max(20, width - len(lead) - 2)
        rows.append(row(f"line {number}", (f" {line[: width - 2]}", "")))

        for part, at in enumerate(range(width - 2, len(line), room)):
            rows.append(row(f"line {number}.{part}", (f" {lead}{line[at : at + room]}", "")))

    return rows


class Question(ModalScreen[bool]):
    """Something that needs the user's consent."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "answer(True)", "yes"),
        Binding("escape,n,q", "answer(False)", "no"),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(f"{self._text}\n\nEnter: go ahead   Esc: cancel", id="question", markup=False)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
