"""How the types of records are written: which parts are shared, which msgspec knows by itself.

msgspec reads and writes nearly all records on its own. Two things it cannot do are found here
once per type: a union of two records (an answer, or `Unavailable`), and values that many ranks
or samples have in common, which a file has once.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from dsray_inspect.agent.handles import JobHandle, NodeHandle, ProcessHandle
from dsray_inspect.agent.model import DeepSpeed, Frame, Group
from dsray_inspect.agent.remote.redaction import known_secrets, redact_pair
from dsray_inspect.agent.sampling.process_probe import Environ
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.startup.reader import Read

_UNIONS: Final = (Union, types.UnionType)


class SharedPart(msgspec.Struct, frozen=True):
    """A type whose values a file has once; elsewhere it has their numbers.

    `written` is the type in the file, `write` and `read` go there and back.
    """

    name: str
    written: Any
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _job(row: JobHandle) -> JobHandle:
    return msgspec.structs.replace(row, runtime_env_vars=_redacted(row.runtime_env_vars))


def _process(row: ProcessHandle) -> ProcessHandle:
    """Leave out what only the launcher of the live job can use."""
    return msgspec.structs.replace(row, raw=b"", runtime_env_vars=_redacted(row.runtime_env_vars))


def _redacted(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables as they may be shown: nobody else redacts what the launcher was given."""
    known = known_secrets(variables)
    return {name: redact_pair(name, value, known) for name, value in variables.items()}


SHARED: Final[dict[Any, SharedPart]] = {
    StackInfo: SharedPart("stacks", tuple[Frame, ...], lambda stack: stack.frames, StackInfo),
    Environ: SharedPart("environs", Environ, _same, _same),
    Group: SharedPart("groups", Group, _same, _same),
    DeepSpeed: SharedPart("engines", DeepSpeed, _same, _same),
    JobHandle: SharedPart("jobs", JobHandle, _job, _same),
    NodeHandle: SharedPart("nodes", NodeHandle, _same, _same),
    ProcessHandle: SharedPart("processes", ProcessHandle, _process, _same),
    Read: SharedPart("starts", Read, _same, _same),
}
LEFT_OUT: Final = (StackTable,)
"""Types that hold nothing of their own."""

Kind = Literal["plain", "shared", "record", "union", "items", "map"]


class Shape(msgspec.Struct, frozen=True):
    """How values of one type are written."""

    kind: Kind
    type: Any
    part: SharedPart | None = None
    fields: dict[str, Shape] = {}
    """Of a record, by name, without those that are left out."""
    defaults: dict[str, Any] = {}
    """Of a record: what need not be written."""
    members: tuple[Shape, ...] = ()
    """Of a union, without None; of items or a map their one."""


@cache
def shape_of(kind: Any) -> Shape:
    """Return how values of a type are written."""
    if kind in SHARED:
        return Shape("shared", kind, part=SHARED[kind])

    if not _is_special(kind):
        return Shape("plain", kind)

    if _is_record(kind):
        return _record(kind)

    origin, args = get_origin(kind), get_args(kind)

    if origin in _UNIONS:
        members = tuple(shape_of(arg) for arg in args if arg is not types.NoneType)
        return Shape("union", kind, members=members)

    if issubclass(origin, Mapping):
        return Shape("map", kind, members=(shape_of(args[1]),))

    return Shape("items", kind, members=(shape_of(args[0]),))


def _record(kind: Any) -> Shape:
    hints = get_type_hints(kind)
    return Shape(
        "record",
        kind,
        fields={name: shape_of(hint) for name, hint in hints.items() if hint not in LEFT_OUT},
        defaults={
            field.name: default
            for field in msgspec.structs.fields(kind)
            if (default := _default_of(field)) is not msgspec.NODEFAULT
        },
    )


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()

    return field.default


@cache
def _is_special(kind: Any) -> bool:
    """Return whether a type holds anything that msgspec cannot read or that is shared."""
    if kind in SHARED or kind in LEFT_OUT:
        return True

    if _is_record(kind):
        return any(_is_special(hint) for hint in get_type_hints(kind).values())

    args = [arg for arg in get_args(kind) if _may_hold_more(arg)]

    if get_origin(kind) in _UNIONS and sum(map(_is_record, args)) > 1:
        return True

    return any(_is_special(arg) for arg in args)


def _may_hold_more(arg: Any) -> bool:
    return isinstance(arg, type) or get_origin(arg) not in (None, Literal)


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def keys_of(kind: Any) -> type:
    """Return the type of a mapping's keys."""
    found: type = get_args(kind)[0]
    return found


def container_of(kind: Any) -> Callable[[Sequence[Any]], Any]:
    """Return what makes the container of items: tuple or list."""
    return list if get_origin(kind) is list else tuple
