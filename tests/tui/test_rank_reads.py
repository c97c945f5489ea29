"""Keys that read more of a rank: its local variables, native frames and log."""

from __future__ import annotations

import msgspec
import pytest

from dsray_inspect.agent.model import Log, LogFile
from tests.tui.histories import Live, hung
from tests.tui.terminal import Terminal, app_on


async def test_locals_and_native_frames_ask_first() -> None:
    source = Live(hung())

    async with Terminal(app_on(hung(), source=source)) as terminal:
        await terminal.press("enter", "l")
        assert "Reading the local variables of rank 1 pauses it for a moment." in terminal.text
        await terminal.press("escape")
        assert source.asked == []
        await terminal.press("n")
        assert "Reading the native frames of rank 1 pauses it for about a second." in terminal.text
        await terminal.press("enter")
        await terminal.until_shown("options = {...}")
        await terminal.press("escape", "escape", "c", "G", "l", "enter")
        await terminal.until(lambda: len(source.asked) == 2)
    assert source.asked == [
        ("stacks", "j47", "--native", "--rank=1"),
        ("stacks", "j47", "--locals", "--rank=1"),
    ]


def log_of_rank_1(*lines: str) -> tuple[str, str]:
    """Return the parts of `stacks --log --json` that are used."""
    path = "/tmp/ray/session/logs/train/ray-train-app-worker-0.log"
    train = LogFile(stream="train", path=path, age_s=111, lines=lines, is_whole=False)
    out = LogFile(stream="stdout", path="/logs/worker-0.out", age_s=9, lines=(), is_whole=True)
    logs = {"1": Log(hostname="vm", files=(out, train))}
    return msgspec.json.encode({"schema_version": 1, "logs": logs}).decode(), ""


async def test_the_log_of_a_rank() -> None:
    source = Live(hung())
    source.log = log_of_rank_1("x" * 100 + "end of it", *(f"step {n}" for n in range(19)))

    async with Terminal(app_on(hung(), source=source)) as terminal:
        await terminal.press("enter")
        assert "L log" in terminal.text.split("\n")[-1]
        await terminal.press("L")
        assert "reading the end of its files" in terminal.line_with("▾ log")
        await terminal.press("L")
        source.may_answer.set()
        await terminal.until_shown("step 18")
        assert terminal.row == "│ step 18"
        await terminal.press("y")
        assert terminal.app.clipboard == "step 18"
        await terminal.go_to("▾ log", "k")
        assert "on vm" in terminal.line_with("▾ log")
        assert "stdout  nothing was written to it  worker-0.out" in terminal.text
        assert "Ray Train  the last 20 lines, written 1 min 51 s ago  ray-train" in terminal.text
        assert "│ " + "x" * 26 + "end of it" in terminal.text
        await terminal.press("space")
        assert "step 3" not in terminal.text
        await terminal.press("greater_than_sign")
        assert "press L to read" in terminal.line_with("▸ log")
    assert source.asked == [("stacks", "j47", "--log", "--rank=1", "--json")]


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (("", "error: The GCS at 192.0.2.2:6379 does not answer.\nIs it up?"), "The GCS at"),
        (("no JSON", ""), "The answer cannot be read."),
        (('{"logs": {}}', ""), "Rank 1 was not found."),
        (('{"logs": {"1": {"hostname": "vm", "files": [], "why": "no file"}}}', ""), "no file."),
    ],
    ids=["error", "garbage", "gone", "no files"],
)
async def test_a_log_that_cannot_be_read(answer: tuple[str, str], shown: str) -> None:
    source = Live(hung())
    source.log = answer
    source.may_answer.set()

    async with Terminal(app_on(hung(), source=source)) as terminal:
        await terminal.press("enter", "L")
        await terminal.until_shown(shown)
        assert "Is it up" not in terminal.text


async def test_a_log_that_arrives_after_the_user_has_moved_on() -> None:
    source = Live(hung())
    source.log = log_of_rank_1("step 1")

    async with Terminal(app_on(hung(), source=source)) as terminal:
        await terminal.press("enter", "L", "g")
        source.may_answer.set()
        await terminal.until(lambda: "on vm" in terminal.line_with("▾ log"))
        assert "rank 1" in terminal.row
        source.may_answer.clear()
        await terminal.press("L", "escape")
        source.may_answer.set()
        await terminal.until(lambda: len(source.asked) == 2 and not list(terminal.app.workers))
        assert "› Overview" in terminal.text


@pytest.mark.parametrize("view", ["1", "2", "3", "4", "5"])
async def test_locals_of_the_row_under_the_cursor(view: str) -> None:
    source = Live(hung())

    async with Terminal(app_on(hung(), source=source)) as terminal:
        await terminal.press(view, *("G" if view == "3" else ""), "l", "enter")
        await terminal.until(lambda: bool(source.asked))

    assert source.asked == [("stacks", "j47", "--locals", "--rank=1")]


async def test_a_row_without_a_rank_has_no_locals(terminal: Terminal) -> None:
    await terminal.press("G", "l")
    await terminal.until_shown("Put the cursor on a rank first.")
