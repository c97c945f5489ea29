"""Every key, pressed as a user would; what the screen shows afterwards is what counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot

from dsray_inspect.agent.model import Log, LogFile, Snapshot
from dsray_inspect.agent.recording import read_window
from dsray_inspect.tui.app import InspectApp
from dsray_inspect.tui.messages import Arrived
from dsray_inspect.tui.screens.base import View
from dsray_inspect.tui.screens.dialogs import KEYS
from dsray_inspect.tui.source import Recorded
from tests.tui.histories import Live, hung, many, restarting, seen
from tests.tui.screen import app_on, press, shown, text_of, until

Steps = Callable[[Pilot[int], InspectApp], Awaitable[None]]


def run(
    steps: Steps, app: InspectApp | None = None, size: tuple[int, int] = (80, 24)
) -> InspectApp:
    """Run an app on the hung window, and do the steps on it."""
    app = app or app_on(hung())

    async def main() -> None:
        async with shown(app, size) as pilot:
            await steps(pilot, app)

    asyncio.run(main())
    return app


def line_with(app: InspectApp, text: str) -> str:
    return next((line for line in text_of(app).split("\n") if text in line), "")


def current(app: InspectApp) -> str:
    assert isinstance(app.screen, View)
    assert app.screen.list.current is not None
    return app.screen.list.current.text


def test_views_by_number_letter_and_tab() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        views = ("overview", "functions", "stacks", "timeline", "findings", "env")

        for number, (letter, view) in enumerate(zip("ofctwe", views, strict=True), 1):
            await press(pilot, letter)
            assert app.view_name == view
            await press(pilot, "1" if number > 1 else "2", str(number))
            assert app.view_name == view
            assert f"▸{number} " in text_of(app)

        await press(pilot, "tab")
        assert app.view_name == "overview"
        await press(pilot, "tab")
        assert app.view_name == "functions"
        await press(pilot, "shift+tab", "shift+tab")
        assert app.view_name == "env"

    run(steps)


def test_the_cursor_moves() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        assert current(app).startswith("rank 1 ")
        await press(pilot, "j")
        assert current(app).startswith("rank 0 ")
        await press(pilot, "down")
        assert current(app).startswith("rank 2 ")
        await press(pilot, "k", "up")
        assert current(app).startswith("rank 1 ")
        await press(pilot, "k")
        assert current(app).startswith("rank 1 ")
        await press(pilot, "G")
        assert "controller" in current(app)
        await press(pilot, "g")
        assert current(app).startswith("rank 1 ")
        await press(pilot, "pagedown")
        assert "controller" in current(app)
        await press(pilot, "pageup")
        assert current(app).startswith("rank 1 ")

    run(steps)


def test_from_a_red_rank_to_its_line_and_back() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "enter")
        text = text_of(app)
        assert "› rank 1" in text
        assert "load_batch  train.py:81" in text
        assert "← 1 min 51 s" in text
        await press(pilot, "escape")
        assert "› Overview" in text_of(app)
        await press(pilot, "enter", "backspace")
        assert "› Overview" in text_of(app)

    run(steps)


def test_ranks_follow_one_another() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "enter", "greater_than_sign")
        assert "› rank 2" in text_of(app)
        await press(pilot, "right")
        assert "› rank 0" in text_of(app)
        await press(pilot, "left", "less_than_sign")
        assert "› rank 1" in text_of(app)

    run(steps)


def test_parts_of_a_rank_fold() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "enter")
        assert "▾ stack" in text_of(app)

        while not current(app).strip().startswith("▾ stack"):
            await press(pilot, "j")

        await press(pilot, "space")
        assert "▸ stack" in text_of(app)
        assert "teach" not in text_of(app)
        await press(pilot, "space")
        assert "▾ stack" in text_of(app)
        await press(pilot, "x")
        assert "_bootstrap" in text_of(app)

    run(steps)


def test_the_filter() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "e", "slash", *"nccl", "enter")
        text = text_of(app)
        assert "NCCL_SOCKET_IFNAME" in text
        assert "MASTER_ADDR" not in text
        assert "differs as expected" not in text
        await press(pilot, "escape")
        assert "MASTER_ADDR" in text_of(app)
        assert app.view_name == "env"
        await press(pilot, "slash", *"nothing like it")
        assert "Nothing here has “nothing like it”" in text_of(app)
        await press(pilot, "escape")
        assert "MASTER_ADDR" in text_of(app)

    run(steps)


def test_functions_open_to_their_ranks() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "f", "enter")
        assert "▾ load_batch" in text_of(app)
        assert "rank 1" in line_with(app, "pid 12573")
        await press(pilot, "j", "enter")
        assert "› rank 1" in text_of(app)
        await press(pilot, "escape")
        assert app.view_name == "functions"

    run(steps)


def test_the_tree_folds_and_shows_every_frame() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "c", "enter")
        assert "get_objects" in text_of(app)
        await press(pilot, "enter")
        assert "get_objects" not in text_of(app)
        assert "…14 frames of deepspeed" in text_of(app)

        while "14 frames" not in current(app):
            await press(pilot, "j")

        await press(pilot, "enter")
        assert "allreduce_bucket" in text_of(app)
        await press(pilot, "x")
        assert "_bootstrap_inner" in text_of(app)
        await press(pilot, "x", "G", "enter")
        assert "› rank 1" in text_of(app)

    run(steps)


def test_pause_and_time() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        assert "● live 2 Hz" in text_of(app)
        await press(pilot, "left_square_bracket")
        assert "⏸" in text_of(app)
        assert "29/30" in text_of(app)
        await press(pilot, "left_curly_bracket")
        assert "19/30" in text_of(app)
        assert "HEALTHY" in text_of(app)
        await press(pilot, "right_square_bracket")
        assert "20/30" in text_of(app)
        await press(pilot, "right_curly_bracket")
        assert "30/30" in text_of(app)
        assert "HUNG" in text_of(app)
        await press(pilot, "p")
        assert "● live 2 Hz" in text_of(app)
        await press(pilot, "p")
        assert "⏸" in text_of(app)
        await press(pilot, "left_curly_bracket", "left_curly_bracket", "left_curly_bracket")
        assert " 1/30" in text_of(app)

    run(steps)


def test_what_is_shown_stays_while_it_is_paused() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "p", "left_square_bracket")
        before = app.story.now
        newest = app.story.window[-1]
        newer = msgspec.structs.replace(newest, taken_at=newest.taken_at + 1)
        app.post_message(Arrived(tuple(seen([newer]))))
        await until(pilot, lambda: len(app.story.window) == 31)
        assert app.story.now is before
        await press(pilot, "p")
        assert app.story.now == newer

    run(steps)


def test_a_recording_plays() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        assert "30/30" in text_of(app)
        await press(pilot, "p")
        assert app.story.position < 30
        await until(pilot, lambda: app.story.position > 2)
        await press(pilot, "p")
        at = app.story.position
        assert f"{at}/30" in text_of(app)
        await press(pilot, "enter", "l")
        await until(pilot, lambda: "This is a recording" in text_of(app))
        assert "not in a recording" in line_with(app, "▾ log")
        await press(pilot, "L")
        await until(pilot, lambda: text_of(app).count("This is a recording") == 2)

    run(steps, app_on(hung(), source=Recorded(hung())))


def test_copy() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "w")

        while not current(app).strip().startswith("next"):
            await press(pilot, "j")

        await press(pilot, "y")

    assert run(steps).clipboard == "dsray-inspect stacks j47 --rank 1 --locals"


def test_a_saved_window_is_the_same_window(tmp_path: Path) -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "s")
        await until(pilot, lambda: "looks saved" in text_of(app))

    app = run(steps, app_on(hung(), folder=tmp_path))
    (path,) = tmp_path.glob("dsray-j47-*.jsonl")
    assert path.stat().st_mode & 0o077 == 0
    again = read_window(path)
    assert again == hung()
    assert app.story.window[-1] in [event.snapshot for event in again if hasattr(event, "snapshot")]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "s")
        await until(pilot, lambda: "No such file" in text_of(app))

    run(steps, app_on(hung(), folder=tmp_path / "none"))


def test_a_picture(tmp_path: Path) -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "S")
        await until(pilot, lambda: "Picture saved" in text_of(app))

    run(steps, app_on(hung(), folder=tmp_path))
    (path,) = tmp_path.glob("*.svg")
    assert "load_batch" in path.read_text()


def test_help_names_every_key() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "question_mark")
        assert "overview: every rank by node and GPU" in text_of(app)
        await press(pilot, "escape")
        assert "› Overview" in text_of(app)

    run(steps)
    named = " ".join(keys for _, part in KEYS for keys, _ in part)
    assert all(key in named for key in "ofctwejkgGpxlnLysSTq!/<>[]{}+-" if key not in "gG{}")


def test_light_and_dark() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        assert app.current_theme.dark
        await press(pilot, "T")
        dark = [app.current_theme.dark]
        await press(pilot, "T")
        assert [*dark, app.current_theme.dark] == [False, True]

    run(steps)


def test_zoom() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "t")
        assert "dorbfuuuuu│" in line_with(app, "✗ rank 1")
        await press(pilot, "minus")
        assert "2 looks a cell" in text_of(app)
        await press(pilot, "plus")
        assert "looks a cell" not in text_of(app)

    run(steps)


def test_locals_and_native_frames_ask_first() -> None:
    source = Live(hung())

    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "enter", "l")
        assert "Local variables of rank 1 stop it for a moment." in text_of(app)
        await press(pilot, "escape")
        assert source.asked == []
        await press(pilot, "n")
        assert "Native frames of rank 1 stop it for about a second." in text_of(app)
        await press(pilot, "enter")
        await until(pilot, lambda: "options = {...}" in text_of(app))
        await press(pilot, "escape", "escape", "c", "G", "l", "enter")
        await until(pilot, lambda: len(source.asked) == 2)

    run(steps, app_on(hung(), source=source))
    assert source.asked == [
        ("stacks", "j47", "--native", "--rank=1"),
        ("stacks", "j47", "--locals", "--rank=1"),
    ]


def log_of_rank_1(*lines: str) -> tuple[str, str]:
    """Return what `stacks --log --json` says, as far as it is read."""
    path = "/tmp/ray/session/logs/train/ray-train-app-worker-0.log"
    train = LogFile(stream="train", path=path, age_s=111, lines=lines, is_whole=False)
    out = LogFile(stream="stdout", path="/logs/worker-0.out", age_s=9, lines=(), is_whole=True)
    logs = {"1": Log(hostname="vm", files=(out, train))}
    return msgspec.json.encode({"schema_version": 1, "logs": logs}).decode(), ""


def test_the_log_of_a_rank() -> None:
    source = Live(hung())
    source.log = log_of_rank_1("x" * 100 + "end of it", *(f"step {n}" for n in range(19)))

    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "enter")
        assert "L log" in text_of(app).split("\n")[-1]
        await press(pilot, "L")
        assert "reading the end of its files" in line_with(app, "▾ log")
        await press(pilot, "L")
        source.may_answer.set()
        await until(pilot, lambda: "step 18" in text_of(app))
        assert current(app).strip() == "│ step 18"
        await press(pilot, "y")

        while not current(app).strip().startswith("▾ log"):
            await press(pilot, "k")

        assert "on vm" in line_with(app, "▾ log")
        assert "stdout  nothing was written to it  worker-0.out" in text_of(app)
        assert "Ray Train  the last 20 lines, written 1 min 51 s ago  ray-train" in text_of(app)
        assert "│ " + "x" * 26 + "end of it" in text_of(app)
        await press(pilot, "space")
        assert "step 3" not in text_of(app)
        await press(pilot, "greater_than_sign")
        assert "L reads" in line_with(app, "▸ log")

    assert run(steps, app_on(hung(), source=source)).clipboard == "step 18"
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
def test_a_log_that_does_not_come(answer: tuple[str, str], shown: str) -> None:
    source = Live(hung())
    source.log = answer
    source.may_answer.set()

    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "enter", "L")
        await until(pilot, lambda: shown in text_of(app))
        assert "Is it up" not in text_of(app)

    run(steps, app_on(hung(), source=source))


def test_a_log_that_comes_when_nobody_waits_any_more() -> None:
    source = Live(hung())
    source.log = log_of_rank_1("step 1")

    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "enter", "L", "g")
        source.may_answer.set()
        await until(pilot, lambda: "on vm" in line_with(app, "▾ log"))
        assert "rank 1" in current(app)
        source.may_answer.clear()
        await press(pilot, "L", "escape")
        source.may_answer.set()
        await until(pilot, lambda: len(source.asked) == 2 and not list(app.workers))
        assert "› Overview" in text_of(app)

    run(steps, app_on(hung(), source=source))


def test_the_next_rank_in_trouble() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "exclamation_mark")
        await until(pilot, lambda: current(app).startswith("rank 77 "))
        await press(pilot, "exclamation_mark")
        await until(pilot, lambda: current(app).startswith("rank 5 "))
        assert text_of(app).count("✗") >= 3

    run(steps, app_on(seen([many(1000, blamed=(5, 77))])))


def test_the_palette_finds_a_rank() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "ctrl+p", *"teach")
        await until(pilot, lambda: "rank 2 · vm teach" in text_of(app))
        await pilot.pause(0.3)
        await press(pilot, "down", "enter")
        await until(pilot, lambda: "› rank 2" in text_of(app))

    run(steps)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_leaving(key: str) -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await pilot.press(key)

    assert run(steps).return_code == 0


def test_mouse() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await pilot.click("#tabs", offset=(30, 0))
        await pilot.pause()
        assert app.view_name == "stacks"
        await pilot.click("#tabs", offset=(3, 0))
        await pilot.pause()
        await pilot.click("#rows", offset=(20, 2))
        assert current(app).startswith("rank 0 ")
        await pilot.click("#rows", offset=(20, 2))
        await pilot.pause()
        assert "› rank 0" in text_of(app)

    run(steps)


def test_a_click_on_a_key_is_that_key() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        last = text_of(app).split("\n")[-1]
        await pilot.click("Keys", offset=(last.index("help"), 0))
        await pilot.pause()
        assert "Esc goes back" in text_of(app)
        await press(pilot, "escape")
        await pilot.click("Keys", offset=(len(last) - 1, 0))
        await pilot.pause()
        assert not app.screen.is_modal

    run(steps)


def test_views_follow_each_other_and_back_is_the_overview() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "f", "t", "c", "t")
        assert app.view_name == "timeline"
        assert len(app.screen_stack) == 2
        await press(pilot, "escape")
        assert app.view_name == "overview"
        await press(pilot, "enter", "w")
        assert app.view_name == "findings"
        assert len(app.screen_stack) == 2

    run(steps)


def test_resizing() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        assert "▏" in text_of(app)
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        assert "HUNG" in text_of(app)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "BLOCKED" in text_of(app)

    run(steps)


def test_a_rank_is_followed_over_a_restart() -> None:
    events = restarting()
    before = app_on(events[:10])

    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "enter")
        assert "pid 32767" in text_of(app)
        app.post_message(Arrived(tuple(events[10:])))
        await until(pilot, lambda: "pid 36767" in text_of(app))
        assert "restarted" in text_of(app)

    run(steps, before)


def test_the_cursor_is_on_the_culprit_until_it_is_moved() -> None:
    """What is to be opened by the first Enter may not be known at the first look."""
    first, then = many(40, blamed=(5,)), many(40, blamed=(3, 5))
    rest: Snapshot = msgspec.structs.replace(then, taken_at=then.taken_at + 1)

    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        assert current(app).startswith("rank 5 ")
        app.post_message(Arrived(tuple(seen([rest]))))
        await until(pilot, lambda: app.story.now == rest and not app._is_due)
        assert current(app).startswith("rank 3 ")

    run(steps, app_on(seen([first])))


def test_the_cursor_stays_on_its_rank() -> None:
    """A look in which another rank is in trouble, and stands above."""
    first, then = many(40, blamed=(5,)), many(40, blamed=(5, 30))
    rest: Snapshot = msgspec.structs.replace(then, taken_at=then.taken_at + 1)

    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        await press(pilot, "j", "j", "j")
        before = current(app).split()[:2]
        app.post_message(Arrived(tuple(seen([rest]))))
        await until(pilot, lambda: app.story.now == rest and not app._is_due)
        assert current(app).split()[:2] == before

    run(steps, app_on(seen([first])))


def test_a_view_may_be_updated_before_it_has_its_widgets() -> None:
    async def steps(pilot: Pilot[int], app: InspectApp) -> None:
        app.open_view("findings")
        app._show()
        await pilot.pause()
        assert "who waits for whom" in text_of(app)

    run(steps)
