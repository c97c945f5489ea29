"""Every key, pressed as a user would; what counts is what the screen shows afterwards."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dsray_inspect.agent.model import Log, LogFile, Snapshot
from dsray_inspect.agent.recording import read_window
from dsray_inspect.tui.messages import EventsArrived
from dsray_inspect.tui.screens.dialogs import KEYS
from dsray_inspect.tui.source import RecordedSource
from tests.tui.histories import Live, hung, many, restarting, sampled
from tests.tui.terminal import Terminal, app_on


async def test_views_by_number_letter_and_tab(terminal: Terminal) -> None:
    views = ("overview", "functions", "stacks", "timeline", "findings", "env")

    for number, (letter, view) in enumerate(zip("ofctwe", views, strict=True), 1):
        await terminal.press(letter)
        assert terminal.view_name == view
        await terminal.press("1" if number > 1 else "2", str(number))
        assert terminal.view_name == view
        assert f"▸{number} " in terminal.text

    await terminal.press("tab")
    assert terminal.view_name == "overview"
    await terminal.press("tab")
    assert terminal.view_name == "functions"
    await terminal.press("shift+tab", "shift+tab")
    assert terminal.view_name == "env"


async def test_the_cursor_moves(terminal: Terminal) -> None:
    assert terminal.row.startswith("rank 1 ")
    await terminal.press("j")
    assert terminal.row.startswith("rank 0 ")
    await terminal.press("down")
    assert terminal.row.startswith("rank 2 ")
    await terminal.press("k", "up")
    assert terminal.row.startswith("rank 1 ")
    await terminal.press("k")
    assert terminal.row.startswith("rank 1 ")
    await terminal.press("G")
    assert "controller" in terminal.row
    await terminal.press("g")
    assert terminal.row.startswith("rank 1 ")
    await terminal.press("pagedown")
    assert "controller" in terminal.row
    await terminal.press("pageup")
    assert terminal.row.startswith("rank 1 ")


async def test_the_cursor_is_visible(terminal: Terminal) -> None:
    plain = terminal.background_of("functions")
    assert terminal.background_of("✗ 1") != plain
    assert terminal.background_of("○ 0") == plain
    await terminal.press("j")
    assert terminal.background_of("✗ 1") == plain
    assert terminal.background_of("○ 0") != plain


async def test_enter_opens_the_culprit_at_its_line_and_escape_goes_back(terminal: Terminal) -> None:
    await terminal.press("enter")
    text = terminal.text
    assert "› rank 1" in text
    assert "load_batch  train.py:81" in text
    assert "← 1 min 51 s" in text
    await terminal.press("escape")
    assert "› Overview" in terminal.text
    await terminal.press("enter", "backspace")
    assert "› Overview" in terminal.text


async def test_next_and_previous_rank(terminal: Terminal) -> None:
    await terminal.press("enter", "greater_than_sign")
    assert "› rank 2" in terminal.text
    await terminal.press("right")
    assert "› rank 0" in terminal.text
    await terminal.press("left", "less_than_sign")
    assert "› rank 1" in terminal.text


async def test_parts_of_a_rank_fold(terminal: Terminal) -> None:
    await terminal.press("enter")
    assert "▾ stack" in terminal.text

    await terminal.go_to("▾ stack")

    await terminal.press("space")
    assert "▸ stack" in terminal.text
    assert "teach" not in terminal.text
    await terminal.press("space")
    assert "▾ stack" in terminal.text
    await terminal.press("x")
    assert "_bootstrap" in terminal.text


async def test_the_filter(terminal: Terminal) -> None:
    await terminal.press("e", "slash", *"nccl", "enter")
    text = terminal.text
    assert "NCCL_SOCKET_IFNAME" in text
    assert "MASTER_ADDR" not in text
    assert "differs, as expected" not in text
    await terminal.press("escape")
    assert "MASTER_ADDR" in terminal.text
    assert terminal.view_name == "env"
    await terminal.press("slash", *"nothing like it")
    assert "No row contains “nothing like it”" in terminal.text
    await terminal.press("escape")
    assert "MASTER_ADDR" in terminal.text


async def test_functions_open_to_their_ranks(terminal: Terminal) -> None:
    await terminal.press("f", "enter")
    assert "▾ load_batch" in terminal.text
    assert "rank 1" in terminal.line_with("pid 12573")
    await terminal.press("j", "enter")
    assert "› rank 1" in terminal.text
    await terminal.press("escape")
    assert terminal.view_name == "functions"


async def test_the_tree_folds_and_shows_every_frame(terminal: Terminal) -> None:
    await terminal.press("c", "enter")
    assert "get_objects" in terminal.text
    await terminal.press("enter")
    assert "get_objects" not in terminal.text
    assert "…14 frames of deepspeed" in terminal.text

    while "14 frames" not in terminal.row:
        await terminal.press("j")

    await terminal.press("enter")
    assert "allreduce_bucket" in terminal.text
    await terminal.press("x")
    assert "_bootstrap_inner" in terminal.text
    await terminal.press("x", "G", "enter")
    assert "› rank 1" in terminal.text


async def test_pause_and_step(terminal: Terminal) -> None:
    assert "● live 2 Hz" in terminal.text
    await terminal.press("left_square_bracket")
    assert "⏸" in terminal.text
    assert "29/30" in terminal.text
    await terminal.press("left_curly_bracket")
    assert "19/30" in terminal.text
    assert "HEALTHY" in terminal.text
    await terminal.press("right_square_bracket")
    assert "20/30" in terminal.text
    await terminal.press("right_curly_bracket")
    assert "30/30" in terminal.text
    assert "HUNG" in terminal.text
    await terminal.press("p")
    assert "● live 2 Hz" in terminal.text
    await terminal.press("p")
    assert "⏸" in terminal.text
    await terminal.press("left_curly_bracket", "left_curly_bracket", "left_curly_bracket")
    assert " 1/30" in terminal.text


async def test_a_paused_screen_stays_at_its_snapshot(terminal: Terminal) -> None:
    await terminal.press("p", "left_square_bracket")
    before = terminal.app.view_state.shown
    newest = terminal.app.view_state.window[-1]
    newer = msgspec.structs.replace(newest, taken_at=newest.taken_at + 1)
    terminal.app.post_message(EventsArrived(tuple(sampled([newer]))))
    await terminal.until(lambda: len(terminal.app.view_state.window) == 31)
    assert terminal.app.view_state.shown is before
    await terminal.press("p")
    assert terminal.app.view_state.shown == newer


async def test_a_recording_plays() -> None:
    async with Terminal(app_on(hung(), source=RecordedSource(hung()))) as terminal:
        assert "30/30" in terminal.text
        await terminal.press("p")
        assert terminal.app.view_state.position < 30
        await terminal.until(lambda: terminal.app.view_state.position > 2)
        await terminal.press("p")
        at = terminal.app.view_state.position
        assert f"{at}/30" in terminal.text
        await terminal.press("enter", "l")
        await terminal.until_shown("This is a recording")
        assert "not in a recording" in terminal.line_with("▾ log")
        await terminal.press("L")
        await terminal.until(lambda: terminal.text.count("This is a recording") == 2)


async def test_copy(terminal: Terminal) -> None:
    await terminal.press("w")
    await terminal.go_to("next")
    await terminal.press("y")
    assert terminal.app.clipboard == "dsray-inspect stacks j47 --rank 1 --locals"


async def test_a_saved_window_is_the_same_window(tmp_path: Path) -> None:
    async with Terminal(app_on(hung(), folder=tmp_path)) as terminal:
        await terminal.press("s")
        await terminal.until_shown("snapshots saved")
    (path,) = tmp_path.glob("dsray-j47-*.jsonl")
    assert path.stat().st_mode & 0o077 == 0
    again = read_window(path)
    assert again == hung()
    assert terminal.app.view_state.window[-1] in [
        event.snapshot for event in again if hasattr(event, "snapshot")
    ]


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    async with Terminal(app_on(hung(), folder=tmp_path / "none")) as terminal:
        await terminal.press("s")
        await terminal.until_shown("No such file")


async def test_a_picture(tmp_path: Path) -> None:
    async with Terminal(app_on(hung(), folder=tmp_path)) as terminal:
        await terminal.press("S")
        await terminal.until_shown("Picture saved")
    (path,) = tmp_path.glob("*.svg")
    assert "load_batch" in path.read_text()


async def test_help_names_every_key(terminal: Terminal) -> None:
    await terminal.press("question_mark")
    assert "overview: every rank by node and GPU" in terminal.text
    await terminal.press("escape")
    assert "› Overview" in terminal.text
    # What an 80-column terminal has room for.
    assert max(len(does) for _, part in KEYS for _, does in part) <= 58
    named = " ".join(keys for _, part in KEYS for keys, _ in part)
    assert all(key in named for key in "ofctwejkgGpxlnLysSTq!/<>[]{}+-" if key not in "gG{}")


async def test_light_and_dark(terminal: Terminal) -> None:
    assert terminal.app.current_theme.dark
    await terminal.press("T")
    dark = [terminal.app.current_theme.dark]
    await terminal.press("T")
    assert [*dark, terminal.app.current_theme.dark] == [False, True]


async def test_zoom(terminal: Terminal) -> None:
    await terminal.press("t")
    assert "dorbfuuuuu│" in terminal.line_with("✗ rank 1")
    await terminal.press("minus")
    assert "2 samples/cell" in terminal.text
    await terminal.press("plus")
    assert "samples/cell" not in terminal.text


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


async def test_an_unset_variable_is_copied_by_its_name(terminal: Terminal) -> None:
    await terminal.press("e", "y")
    assert terminal.app.clipboard == "NCCL_SOCKET_IFNAME"


async def test_the_next_rank_in_trouble() -> None:
    async with Terminal(app_on(sampled([many(1000, blamed=(5, 77))]))) as terminal:
        await terminal.press("exclamation_mark")
        await terminal.until(lambda: terminal.row.startswith("rank 77 "))
        await terminal.press("exclamation_mark")
        await terminal.until(lambda: terminal.row.startswith("rank 5 "))
        assert terminal.text.count("✗") >= 3


async def test_the_palette_finds_a_rank(terminal: Terminal) -> None:
    await terminal.press("ctrl+p", *"teach")
    await terminal.until_shown("rank 2 · vm teach")
    await terminal.pilot.pause(0.3)
    await terminal.press("down", "enter")
    await terminal.until_shown("› rank 2")


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_quit(key: str, terminal: Terminal) -> None:
    await terminal.pilot.press(key)
    assert terminal.app.return_code == 0


async def test_mouse(terminal: Terminal) -> None:
    await terminal.click("#tabs", 30)
    assert terminal.view_name == "stacks"
    await terminal.click("#tabs", 3)
    await terminal.click("#rows", 20, 2)
    assert terminal.row.startswith("rank 0 ")
    await terminal.click("#rows", 20, 2)
    assert "› rank 0" in terminal.text


async def test_a_click_on_a_key_presses_it(terminal: Terminal) -> None:
    last = terminal.text.split("\n")[-1]
    await terminal.click("Keys", last.index("help"))
    assert "Esc goes back" in terminal.text
    await terminal.press("escape")
    await terminal.click("Keys", len(last) - 1)
    assert not terminal.app.screen.is_modal


async def test_back_from_any_view_is_the_overview(terminal: Terminal) -> None:
    await terminal.press("f", "t", "c", "t")
    assert terminal.view_name == "timeline"
    assert len(terminal.app.screen_stack) == 2
    await terminal.press("escape")
    assert terminal.view_name == "overview"
    await terminal.press("enter", "w")
    assert terminal.view_name == "findings"
    assert len(terminal.app.screen_stack) == 2


async def test_resizing(terminal: Terminal) -> None:
    await terminal.resize(200, 60)
    assert "▏" in terminal.text
    await terminal.resize(40, 10)
    assert "HUNG" in terminal.text
    await terminal.resize(80, 24)
    assert "BLOCKED" in terminal.text


async def test_a_rank_is_followed_over_a_restart() -> None:
    events = restarting()
    before = app_on(events[:10])

    async with Terminal(before) as terminal:
        await terminal.press("enter")
        assert "pid 32767" in terminal.text
        terminal.app.post_message(EventsArrived(tuple(events[10:])))
        await terminal.until_shown("pid 36767")
        assert "restarted" in terminal.text


async def test_the_cursor_is_on_the_culprit_until_it_is_moved() -> None:
    """The first snapshot may not tell yet which rank Enter should open."""
    first, then = many(40, blamed=(5,)), many(40, blamed=(3, 5))
    rest: Snapshot = msgspec.structs.replace(then, taken_at=then.taken_at + 1)

    async with Terminal(app_on(sampled([first]))) as terminal:
        assert terminal.row.startswith("rank 5 ")
        terminal.app.post_message(EventsArrived(tuple(sampled([rest]))))
        await terminal.until(
            lambda: terminal.app.view_state.shown == rest and not terminal.app._is_refresh_due
        )
        assert terminal.row.startswith("rank 3 ")


async def test_the_cursor_stays_on_its_rank() -> None:
    """In the next snapshot another rank is in trouble, and is listed above."""
    first, then = many(40, blamed=(5,)), many(40, blamed=(5, 30))
    rest: Snapshot = msgspec.structs.replace(then, taken_at=then.taken_at + 1)

    async with Terminal(app_on(sampled([first]))) as terminal:
        await terminal.press("j", "j", "j")
        before = terminal.row.split()[:2]
        terminal.app.post_message(EventsArrived(tuple(sampled([rest]))))
        await terminal.until(
            lambda: terminal.app.view_state.shown == rest and not terminal.app._is_refresh_due
        )
        assert terminal.row.split()[:2] == before


async def test_a_view_may_be_updated_before_it_has_its_widgets(terminal: Terminal) -> None:
    terminal.app.action_open_view("findings")
    terminal.app._refresh_views()
    await terminal.pilot.pause()
    assert "who waits for what" in terminal.text
