"""Reads the parts of a file from front to back, so that one that is cut off is no special case.

Only what is asked for is unpacked, one part at a time and never more of it than a part may have:
a small file cannot make a large one in memory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple

from dsray_inspect.agent.incident.layout import MAX_PART_BYTES, MAX_PARTS

_LOCAL: Final = b"PK\x03\x04"
_ENDS: Final = (b"PK\x01\x02", b"PK\x05\x06")
_HEAD: Final = struct.Struct("<4sHHHHHLLLHH")
_STORED: Final = 0
_DEFLATED: Final = 8
_ENCRYPTED: Final = 0x1
_SIZES_FOLLOW: Final = 0x8
_WINDOW_BITS: Final = -15
_CHUNK_BYTES: Final = 1 << 16
_LONGEST_NAME_BYTES: Final = 200


class NotAZip(Exception):
    """Raised when a file does not begin as one."""


class Part(NamedTuple):
    name: str
    data: bytes


class Damaged(NamedTuple):
    """Where and how the readable part of a file ends."""

    how: Literal["cut off", "damaged"]
    at: str
    """The part that cannot be read; "" where not even its name can."""


def parts_of(path: Path) -> Iterator[Part | Damaged]:
    """Yield the parts; a damage is the last item.

    Raises:
        NotAZip: it is another kind of file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for number in range(MAX_PARTS):
            head = file.read(_HEAD.size)

            if head[:4] in _ENDS:
                return

            if number == 0 and head[:4] != _LOCAL:
                raise NotAZip

            found = _part(file, head)
            yield found

            if isinstance(found, Damaged):
                return

        yield Damaged("damaged", "")


def _part(file: IO[bytes], head: bytes) -> Part | Damaged:
    if len(head) < _HEAD.size:
        return Damaged("cut off", "")

    mark, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _HEAD.unpack(head)

    if mark != _LOCAL or name_bytes > _LONGEST_NAME_BYTES:
        return Damaged("damaged", "")

    name = file.read(name_bytes).decode("utf-8", "replace")
    file.seek(extra_bytes, 1)

    if flags & (_ENCRYPTED | _SIZES_FOLLOW) or method not in (_STORED, _DEFLATED):
        return Damaged("damaged", name)

    if size > MAX_PART_BYTES or packed > MAX_PART_BYTES:
        return Damaged("damaged", name)

    data, is_cut = _unpacked(file, method, packed=packed, size=size)

    if is_cut:
        return Damaged("cut off", name)

    if data is None or len(data) != size or zlib.crc32(data) != crc:
        return Damaged("damaged", name)

    return Part(name, data)


def _unpacked(file: IO[bytes], method: int, *, packed: int, size: int) -> tuple[bytes | None, bool]:
    """Return no more than `size` bytes, or None, and whether the file ends before them."""
    unpacker = zlib.decompressobj(_WINDOW_BITS)
    found = bytearray()
    left = packed

    while left > 0:
        chunk = file.read(min(left, _CHUNK_BYTES))

        if not chunk:
            return None, True

        left -= len(chunk)

        try:
            room = size + 1 - len(found)
            found += chunk if method == _STORED else unpacker.decompress(chunk, max(room, 1))
        except zlib.error:
            return None, False

        if len(found) > size or unpacker.unconsumed_tail:
            return None, False

    return bytes(found), False
