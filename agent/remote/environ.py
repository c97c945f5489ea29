"""The live environment of a process, its own or another's (stdlib only, sent by value).

`/proc/PID/environ` is the block of exec time; what a program sets later is only reachable
from inside, or from libc's `environ` variable in /proc/PID/mem. Reading that does not stop the process and needs ptrace rights.
Layouts: ELF-64 (`man 5 elf`), little endian.
"""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

from dsray_inspect.agent.compat.ray import RAYLET_PID_VARIABLE
from dsray_inspect.agent.remote.gil import yield_gil
from dsray_inspect.agent.remote.redaction import known_secrets, redact_variable

VARIABLES_AT_ONCE = 8
MAX_VARIABLES = 4096
MAX_VALUE_BYTES = 32_768
PAGE = 4096


class EnvironUnreadable(Exception):
    """Raised when a process's live environment cannot be read; the text says why.

    `reason` is one of `agent.unavailable.Reason`.
    """

    def __init__(self, detail: str, *, reason: str = "failed") -> None:
        super().__init__(detail)
        self.reason = reason


def live_environ(pid: int) -> dict[str, str]:
    """Return the variables of a running process as they are now.

    Raises:
        EnvironUnreadable: no right to read it, or no libc with an `environ` in it.
    """
    try:
        path, base = libc_mapping(pid)
        pointer_at = base + symbol_offset(f"/proc/{pid}/root{path}", {b"environ", b"__environ"})

        with open(f"/proc/{pid}/mem", "rb") as memory:
            return variables(memory, read_u64(memory, pointer_at))
    except PermissionError as error:
        raise EnvironUnreadable(
            "no ptrace right to read the process's memory", reason="no_ptrace"
        ) from error
    except FileNotFoundError as error:
        raise EnvironUnreadable(
            "the process is gone or not visible from here", reason="not_running"
        ) from error
    except (OSError, struct.error, ValueError) as error:
        raise EnvironUnreadable(f"its memory does not read as expected: {error}") from error


def libc_mapping(pid: int) -> tuple[str, int]:
    """Return the path of the process's C library and the address it is loaded at."""
    with open(f"/proc/{pid}/maps") as lines:
        for line in lines:
            fields = line.split()
            name = fields[-1].rpartition("/")[2] if len(fields) >= 6 else ""

            if name.startswith(("libc.so", "libc-", "ld-musl")) and int(fields[2], 16) == 0:
                return fields[5], int(fields[0].partition("-")[0], 16)

    raise EnvironUnreadable("it has no C library mapped")


def symbol_offset(path: str, names: set[bytes]) -> int:
    """Return where a dynamic symbol lies, relative to the library's load address."""
    with open(path, "rb") as file:
        image = file.read()

    if image[:5] != b"\x7fELF\x02":
        raise ValueError("not a 64-bit ELF library")

    sections_at = struct.unpack_from("<Q", image, 0x28)[0]
    size, count = struct.unpack_from("<HH", image, 0x3A)
    sections = [
        struct.unpack_from("<IIQQQQIIQQ", image, sections_at + n * size) for n in range(count)
    ]

    for section in sections:
        if section[1] == 11:
            offset = symbol_in(image, section, sections[section[6]], names)

            if offset is not None:
                return offset - first_load_address(image)

    raise ValueError("the C library exports no environ")


def symbol_in(
    image: bytes, table: tuple[int, ...], strings: tuple[int, ...], names: set[bytes]
) -> int | None:
    """Search one dynamic symbol table; both are section headers."""
    for at in range(table[4], table[4] + table[5], 24):
        name_at, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", image, at)
        start = strings[4] + name_at

        if image[start : image.index(b"\0", start)] in names and value:
            return int(value)

    return None


def first_load_address(image: bytes) -> int:
    headers_at = struct.unpack_from("<Q", image, 0x20)[0]
    size, count = struct.unpack_from("<HH", image, 0x36)

    for number in range(count):
        kind, _, _, address = struct.unpack_from("<IIQQ", image, headers_at + number * size)

        if kind == 1:
            return int(address) & ~(PAGE - 1)

    return 0


def variables(memory: BinaryIO, array_at: int) -> dict[str, str]:
    """Read the NULL-terminated array of `NAME=value` pointers."""
    found: dict[str, str] = {}

    for number in range(MAX_VARIABLES):
        entry_at = read_u64(memory, array_at + number * 8)

        if entry_at == 0:
            break

        name, separator, value = read_text(memory, entry_at).partition("=")

        if separator:
            found[name] = value

    return found


def read_at(memory: BinaryIO, address: int, size: int) -> bytes:
    memory.seek(address)
    return bytes(memory.read(size))


def read_u64(memory: BinaryIO, address: int) -> int:
    return int(struct.unpack("<Q", read_at(memory, address, 8))[0])


def read_text(memory: BinaryIO, address: int) -> str:
    """Read a C string, page by page so as not to run into an unmapped one."""
    parts: list[bytes] = []
    length = 0

    while length < MAX_VALUE_BYTES:
        chunk = read_at(memory, address + length, PAGE - (address + length) % PAGE)
        end = chunk.find(b"\0")

        if end >= 0:
            parts.append(chunk[:end])
            break

        parts.append(chunk)
        length += len(chunk)

    return b"".join(parts).decode("utf-8", "surrogateescape")


def compare_environ(live: dict[str, str], pid: str) -> dict[str, Any]:
    """Return the variables, redacted, which were set after exec and which the raylet has too.

    `from_raylet` is None where the raylet's own variables may not be read.
    """
    known = known_secrets(live)
    shown: dict[str, str] = {}

    for number, (name, value) in enumerate(live.items()):
        shown[name] = redact_variable(name, value, known)

        if number % VARIABLES_AT_ONCE == 0:
            yield_gil()

    at_exec = environ_block(f"/proc/{pid}/environ")
    yield_gil()
    raylet = (
        environ_block(f"/proc/{live[RAYLET_PID_VARIABLE]}/environ")
        if RAYLET_PID_VARIABLE in live
        else {}
    )
    yield_gil()
    return {
        "variables": shown,
        "set_after_exec": [name for name, value in live.items() if at_exec.get(name) != value],
        "from_raylet": [name for name, value in live.items() if raylet.get(name) == value]
        if raylet
        else None,
    }


def environ_block(path: str) -> dict[str, str]:
    """Return a process's exec-time variables, empty where they may not be read."""
    try:
        with open(path, "rb") as file:
            block = file.read()
    except OSError:
        return {}

    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if b"=" in entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
