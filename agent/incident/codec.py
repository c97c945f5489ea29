"""Records to JSON and back, each shared part once for a whole file.

A sample is written with the parts that no sample before it had, so that it can be read when all
that comes after it is lost.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import msgspec

from dsray_inspect.agent.gc_pause import without_collector
from dsray_inspect.agent.incident.shape import (
    SHARED,
    Shape,
    SharedPart,
    container_of,
    keys_of,
    shape_of,
)
from dsray_inspect.agent.model import Record
from dsray_inspect.agent.unavailable import Unavailable

_PARTS: Final = {part.name: part for part in SHARED.values()}
_DIGEST_BYTES: Final = 16
_REASON: Final = "reason"
"""Only `Unavailable` has a field of this name."""


class EncodedRecord(Record, frozen=True, kw_only=True):
    """A record, and the shared parts that it is the first to use, each after those before it."""

    parts: dict[str, list[msgspec.Raw]] = msgspec.field(default_factory=dict)
    record: msgspec.Raw


def to_json(value: Any) -> bytes:
    """Return a value as JSON; a byte that is no text, as variables may have, becomes "?"."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_as_text(msgspec.to_builtins(value)))


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")

    if isinstance(value, dict):
        return {_as_text(key): _as_text(item) for key, item in value.items()}

    return [_as_text(item) for item in value] if isinstance(value, (list, tuple)) else value


class Encoder:
    """Writes one record after another; keeps a digest of each part, not the part."""

    def __init__(self) -> None:
        self._places: dict[str, dict[bytes, int]] = {name: {} for name in _PARTS}
        self._new: dict[str, list[msgspec.Raw]] = {}
        self._known: dict[int, tuple[int, object]] = {}
        """By identity, within one record: the number of a part, and the part, to keep it alive."""

    @without_collector
    def encoded(self, value: Any, kind: Any) -> EncodedRecord:
        """Return a value of this type as JSON."""
        self._new, self._known = {}, {}
        raw = msgspec.Raw(to_json(self._written(value, shape_of(kind))))
        found = EncodedRecord(parts=self._new, record=raw)
        self._new, self._known = {}, {}
        return found

    def _written(self, value: Any, shape: Shape) -> Any:
        if value is None or shape.kind == "plain":
            return value

        if shape.kind == "shared":
            assert shape.part is not None
            return self._place(value, shape.part)

        if shape.kind == "record":
            return self._fields(value, shape)

        if shape.kind == "union":
            return self._written(value, _member_for(value, shape))

        (member,) = shape.members

        if shape.kind == "map":
            return {key: self._written(item, member) for key, item in value.items()}

        return [self._written(item, member) for item in value]

    def _fields(self, value: Any, shape: Shape) -> dict[str, Any]:
        defaults = shape.defaults
        return {
            name: self._written(field, member)
            for name, member in shape.fields.items()
            if not ((field := getattr(value, name)) is None and defaults.get(name, ...) is None)
            and not (name in defaults and field == defaults[name])
        }

    def _place(self, value: Any, part: SharedPart) -> int:
        """Return the number of a part, which is added where it is new."""
        known = self._known.get(id(value))

        if known is not None:
            return known[0]

        raw = to_json(part.write(value))
        places = self._places[part.name]
        digest = blake2b(raw, digest_size=_DIGEST_BYTES).digest()
        place = places.get(digest)

        if place is None:
            place = places[digest] = len(places)
            self._new.setdefault(part.name, []).append(msgspec.Raw(raw))

        self._known[id(value)] = (place, value)
        return place


def _member_for(value: Any, shape: Shape) -> Shape:
    """Return the member of a union that a value is of."""
    is_silent = isinstance(value, Unavailable)
    fitting = (member for member in shape.members if (member.type is Unavailable) is is_silent)
    return next(fitting)


class Decoder:
    """Reads what an encoder has written, in the same order."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {name: [] for name in _PARTS}

    @without_collector
    def decoded(self, encoded: EncodedRecord, kind: Any) -> Any:
        """Return the value of this type.

        Raises:
            msgspec.MsgspecError: it is something else.
        """
        for name, raws in encoded.parts.items():
            part = _PARTS.get(name)

            if part is not None:  # else of a newer version, for which nothing here asks
                self._parts[name] += [
                    part.read(msgspec.json.decode(raw, type=part.written)) for raw in raws
                ]

        return self._read(msgspec.json.decode(encoded.record), shape_of(kind))

    def _read(self, value: Any, shape: Shape) -> Any:
        if shape.kind == "plain":
            return msgspec.convert(value, shape.type, str_keys=True)

        if shape.kind == "shared":
            assert shape.part is not None
            return self._part(value, shape.part)

        if shape.kind == "record":
            return self._record(value, shape)

        if shape.kind == "union":
            return None if value is None else self._read(value, _member_read(value, shape))

        (member,) = shape.members

        if shape.kind == "map":
            keys = keys_of(shape.type)
            items = _of_type(value, dict).items()
            return {
                msgspec.convert(key, keys, strict=False): self._read(item, member)
                for key, item in items
            }

        return container_of(shape.type)(
            [self._read(item, member) for item in _of_type(value, list)]
        )

    def _record(self, value: Any, shape: Shape) -> Any:
        fields, known = _of_type(value, dict), shape.fields

        try:
            return shape.type(
                **{
                    name: self._read(field, known[name])
                    for name, field in fields.items()
                    if name in known
                }
            )
        except TypeError as error:
            raise msgspec.ValidationError(str(error)) from error

    def _part(self, value: Any, part: SharedPart) -> Any:
        parts = self._parts[part.name]

        if not isinstance(value, int) or not 0 <= value < len(parts):
            raise msgspec.ValidationError(f"there is no part {value!r} of {part.name}")

        return parts[value]


def _member_read(value: Any, shape: Shape) -> Shape:
    is_silent = isinstance(value, dict) and _REASON in value
    fitting = [member for member in shape.members if (member.type is Unavailable) is is_silent]

    if not fitting:
        raise msgspec.ValidationError("a value is of none of the types that it may have")

    return fitting[0]


def _of_type(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise msgspec.ValidationError(f"Expected `{kind.__name__}`")

    return value
