"""What stands over a view for a moment: help, an answer that was asked for, a question."""

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
            ("2 f", "functions: which ranks, nodes and GPUs are in them"),
            ("3 c", "stacks: one tree from the driver to the collective"),
            ("4 t", "timeline: each rank's phases, look by look"),
            ("5 w", "findings: what is wrong, why, and who waits for whom"),
            ("6 e", "environment: what differs across ranks"),
            ("Tab", "the next view; Shift+Tab the one before"),
        ),
    ),
    (
        "moving",
        (
            ("j k ↑ ↓", "one row; g and G the first and the last; PgUp and PgDn a page"),
            ("Enter", "open what is under the cursor: a rank, a frame, a part"),
            ("Esc", "back, or show all rows again"),
            ("/", "show only rows with a text in them"),
            ("< >", "in a rank: the rank before, the next"),
            ("!", "go to the next rank in trouble"),
        ),
    ),
    (
        "time",
        (
            ("p", "pause, and live again; plays a recording"),
            ("[ ]", "one look back, one forward; { and } ten"),
            ("+ -", "in the timeline: fewer or more looks a cell"),
        ),
    ),
    (
        "more",
        (
            ("x", "in stacks and a rank: show every frame"),
            ("l", "local variables of the rank; stops it for a moment, asks first"),
            ("n", "native frames of the rank; stops it for up to a second, asks first"),
            ("L", "in a rank: the end of its log files, secrets hidden; does not stop it"),
            ("y", "copy the row, or the command it advises"),
            ("s", "save the window as JSON Lines, for attach --replay"),
            ("S", "save a picture of the screen (SVG)"),
            ("T", "light or dark; Ctrl+P, then “theme”, has more"),
            ("Ctrl+P", "everything by name: views, ranks, actions"),
            ("q", "leave; the job goes on as before"),
        ),
    ),
)


class Sheet(ModalScreen[None]):
    """A text to read, over the view."""

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
    """Return all keys, then what the symbols mean."""
    rows: list[Row] = []

    for title, keys in KEYS:
        rows.append(heading(title))
        rows += [row(f"key {key}", (f"   {key:<9}", "accent"), (what, "")) for key, what in keys]
        rows.append(blank())

    rows.append(heading("symbols"))
    rows += [
        row(f"symbol {one.symbol}", (f"   {one.symbol:<9}", one.look), (one.meaning, ""))
        for one in ALL
    ]
    return rows


def text_rows(lines: Sequence[str], width: int) -> list[Row]:
    """Return lines of text; what does not fit goes on below, indented as its line is."""
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
    """Something that is not done without a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "answer(True)", "yes"),
        Binding("escape,n,q", "answer(False)", "no"),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(f"{self._text}\n\nEnter: go on   Esc: do not", id="question", markup=False)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
