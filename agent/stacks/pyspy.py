"""Decode what `py-spy dump --json` prints, with or without --native, --locals, --subprocesses."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.model import Frame, Local
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.stacks.thread import Thread


class PySpyUnreadable(ValueError):
    """Raised when something is not the output of `py-spy dump --json`."""


class _Local(msgspec.Struct):
    name: str
    repr: str | None = None


class _Frame(msgspec.Struct):
    name: str
    filename: str
    line: int
    module: str | None = None
    locals: list[_Local] | None = None


class _Thread(msgspec.Struct):
    frames: list[_Frame]
    pid: int | None = None
    thread_name: str | None = None
    os_thread_id: int | None = None
    owns_gil: bool | None = None


_DECODER = msgspec.json.Decoder(list[_Thread])


def parse(text: bytes) -> tuple[Thread, ...]:
    """Return the threads of one dump; frames outermost first, without their layers.

    Raises:
        PySpyUnreadable: The text is not such a dump.
    """
    try:
        threads = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PySpyUnreadable(f"not the output of py-spy dump --json: {error}") from error

    return tuple(_thread(thread) for thread in threads)


def labelled_threads(text: bytes, table: StackTable) -> tuple[Thread, ...]:
    """Return the threads of one dump, every frame with its layer.

    Raises:
        PySpyUnreadable: The text is not such a dump.
    """
    return tuple(
        msgspec.structs.replace(thread, stack=table.stack(thread.frames)) for thread in parse(text)
    )


def _thread(thread: _Thread) -> Thread:
    return Thread(
        name=thread.thread_name or "",
        tid=thread.os_thread_id,
        stack=StackInfo([_frame(frame) for frame in reversed(thread.frames)]),
        owns_gil=thread.owns_gil,
        pid=thread.pid,
    )


def _frame(frame: _Frame) -> Frame:
    # Only frames of machine code have a module.
    native = frame.module is not None
    if native:
        # An address without a symbol differs in every process.
        name = "??" if frame.name.startswith("0x") else frame.name
    else:
        name = frame.name.rpartition(".")[2] or frame.name

    return Frame(
        name=name,
        file=frame.filename,
        line=frame.line,
        layer="native" if native else "python",
        qualname=frame.name if not native and name != frame.name else None,
        locals=_locals(frame.locals),
    )


def _locals(values: list[_Local] | None) -> tuple[Local, ...] | None:
    if values is None:
        return None

    return tuple(Local(name=value.name, value=value.repr or "") for value in values)
