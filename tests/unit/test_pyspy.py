"""Whatever py-spy prints is decoded, whatever else is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsray_inspect.agent.model import Frame, Local
from dsray_inspect.agent.stacks.pyspy import PySpyUnreadable, parse

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FRAMES = st.fixed_dictionaries(
    {"name": st.text(), "filename": st.text(), "line": st.integers(0, 2**31 - 1)},
    optional={
        "module": st.none() | st.text(),
        "locals": st.none()
        | st.lists(st.fixed_dictionaries({"name": st.text(), "repr": st.none() | st.text()})),
        "is_entry": st.booleans(),
        "of_a_later_version": JSON,
    },
)
THREADS = st.fixed_dictionaries(
    {"frames": st.lists(FRAMES)},
    optional={
        "pid": st.integers(1, 2**22),
        "thread_name": st.none() | st.text(),
        "os_thread_id": st.none() | st.integers(1, 2**22),
        "owns_gil": st.booleans(),
        "process_info": JSON,
    },
)


def frame(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "filename": "/a.py", "line": 3, "module": None, **more}


def only_frame(**more: Any) -> Frame:
    dump = [{"pid": 7, "thread_name": None, "os_thread_id": 8, "frames": [more]}]
    return parse(json.dumps(dump).encode())[0].frames[0]


def test_outermost_frame_comes_first() -> None:
    dump = [
        {
            "pid": 7,
            "thread_name": "MainThread",
            "os_thread_id": 7,
            "owns_gil": True,
            "frames": [frame("inner"), frame("outer")],
        }
    ]
    (thread,) = parse(json.dumps(dump).encode())
    assert (thread.pid, thread.tid, thread.name, thread.owns_gil) == (7, 7, "MainThread", True)
    assert [f.name for f in thread.frames] == ["outer", "inner"]


@pytest.mark.parametrize(
    ("written", "name", "qualname"),
    [
        ("teach", "teach", None),
        ("Engine.step", "step", "Engine.step"),
        ("f.<locals>.g", "g", "f.<locals>.g"),
        ("f.<locals>.<lambda>", "<lambda>", "f.<locals>.<lambda>"),
        ("<module>", "<module>", None),
    ],
)
def test_names_are_bare(written: str, name: str, qualname: str | None) -> None:
    read = only_frame(**frame(written))
    assert (read.name, read.qualname, read.layer) == (name, qualname, "python")


def test_native_names_stay_whole() -> None:
    read = only_frame(**frame("c10d::Work::wait(std::chrono<1.5>)", module="/usr/lib/libtorch.so"))
    assert (read.name, read.qualname, read.layer) == (
        "c10d::Work::wait(std::chrono<1.5>)",
        None,
        "native",
    )


def test_an_address_is_no_name() -> None:
    assert only_frame(**frame("0x7f544c9278ec", module="/usr/lib/libc.so.6")).name == "??"


def test_locals_are_kept_as_written() -> None:
    values = [{"name": "x", "addr": 1, "arg": True, "repr": "3"}, {"name": "y", "repr": None}]
    assert only_frame(**frame("f", locals=values)).locals == (
        Local(name="x", value="3"),
        Local(name="y", value=""),
    )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Error: Permission Denied",
        b"{}",
        b"[1]",
        b'[{"frames": 3}]',
        b'[{"frames": [{"name": "f"}]}]',
        b"[" * 100_000,
        b"\xff\xfe",
        b'[{"frames": [',
    ],
)
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(PySpyUnreadable):
        parse(text)


@given(st.lists(THREADS))
def test_any_dump_is_read_whole(dump: list[dict[str, Any]]) -> None:
    threads = parse(json.dumps(dump).encode())
    assert [len(thread.frames) for thread in threads] == [len(thread["frames"]) for thread in dump]


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_junk_is_read_or_refused(text: bytes) -> None:
    with contextlib.suppress(PySpyUnreadable):
        assert isinstance(parse(text), tuple)
