"""Stacks as one text: what was packed comes out again, and a live thread's stack can be read."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.remote.threads import all_threads, packed, unpacked

NAMES = st.text(st.characters(exclude_characters="\0"))
FRAMES = st.lists(st.tuples(NAMES, NAMES, NAMES, st.integers(0, 1 << 31)))


@given(FRAMES)
def test_every_frame_comes_back(frames: list[tuple[str, str, str, int]]) -> None:
    assert unpacked(packed(frames)) == frames


def test_equal_stacks_are_equal_texts() -> None:
    frames = [("f", "A.f", "/a b/ü.py", 3)]
    assert packed(frames) == packed(list(frames))
    assert packed([]) == ""


def test_a_name_that_holds_the_separator_breaks_nothing() -> None:
    odd = [("f\0g", "f\0g", "/a.py", 3), ("h", "h", "/a.py", 4)]
    assert unpacked(packed(odd)) == [("f?g", "f?g", "/a.py", 3), ("h", "h", "/a.py", 4)]


def test_a_thread_tells_where_it_is() -> None:
    ready, done = threading.Event(), threading.Event()

    def wait_here() -> None:
        ready.set()
        done.wait()

    thread = threading.Thread(target=wait_here, name="waits")
    thread.start()
    ready.wait()

    try:
        (told,) = [thread for thread in all_threads() if thread["name"] == "waits"]
        names = [name for name, _, file, _ in unpacked(told["frames"]) if file == __file__]
        assert names == ["wait_here"]
    finally:
        done.set()
        thread.join()
