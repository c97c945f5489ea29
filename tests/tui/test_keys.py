"""Every key, pressed as a user would; what counts is what the screen shows afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsray_inspect.agent.recording import read_window
from dsray_inspect.tui.screens.dialogs import KEYS
from dsray_inspect.tui.source import RecordedSource
from tests.tui.histories import hung, many, sampled
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
