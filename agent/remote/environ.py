"""The live environment of a process, its own or another's (stdlib only, sent by value).

`/proc/PID/environ` is the environment of exec time. What a program sets later can be read only from
inside, or from the variable `environ` in its memory, which neither stops the process nor runs
anything in it, but needs the right to (see `remote.rights`). Layouts: little-endian ELF-64 (`man 5 elf`).
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from dsray_inspect.agent.compat.launchers import RANK_VARIABLES
from dsray_inspect.agent.compat.ray import RAYLET_PID_VARIABLE
from dsray_inspect.agent.remote.gil import yield_gil
from dsray_inspect.agent.remote.redaction import known_secrets, redact_pair
from dsray_inspect.agent.remote.rights import denial

_VARIABLES_AT_ONCE = 8
_MAX_VARIABLES = 4096
_MAX_ANCESTORS = 16
_MAX_VALUE_BYTES = 32_768
_PAGE_BYTES = 4096
_SYMBOLS = (b"environ", b"__environ", b"_environ")
_DYNAMIC_SYMBOLS = 11
"""`SHT_DYNSYM`, the type of the section with the dynamic symbols."""
_LOADED = 1
"""`PT_LOAD`, the type of a segment that is mapped into memory."""


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
        EnvironUnreadable: Its memory may not be read, or no `environ` is found in it.
    """
    try:
        pointer_address = _environ_address(pid)

        with open(f"/proc/{pid}/mem", "rb") as memory:
            return _read_variables(memory, _read_u64(memory, pointer_address))
    except PermissionError as error:
        raise EnvironUnreadable(denial(pid), reason="no_ptrace") from error
    except FileNotFoundError as error:
        raise EnvironUnreadable(
            "the process is gone or not visible from here", reason="not_running"
        ) from error
    except (OSError, struct.error, ValueError, IndexError) as error:
        raise EnvironUnreadable(f"its memory does not read as expected: {error}") from error


def _environ_address(pid: int) -> int:
    """Return where a process keeps the pointer to its variables.

    An executable that was linked at a fixed address (such as Debian's python3) has a copy of the C
    library's variable, and from then on everybody uses the copy (`R_X86_64_COPY`).
    """
    executable = os.readlink(f"/proc/{pid}/exe")
    library: tuple[str, int] | None = None

    for path, address in _loaded_files(pid):
        if path == executable:
            offset = _symbol_offset(f"/proc/{pid}/exe")

            if offset is not None:
                return address + offset
        elif library is None and _is_c_library(path):
            library = path, address

    if library is None:
        raise EnvironUnreadable("it has no C library mapped")

    path, address = library
    offset = _symbol_offset(f"/proc/{pid}/root{path}")

    if offset is None:
        raise ValueError("the C library exports no environ")

    return address + offset


def _loaded_files(pid: int) -> Iterator[tuple[str, int]]:
    """Yield the path of each file that is mapped from its beginning, and the address."""
    with open(f"/proc/{pid}/maps") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(None, 5)

            if len(fields) == 6 and fields[5].startswith("/") and int(fields[2], 16) == 0:
                yield fields[5], int(fields[0].partition("-")[0], 16)


def _is_c_library(path: str) -> bool:
    return path.rpartition("/")[2].startswith(("libc.so", "libc-", "ld-musl"))


def _symbol_offset(path: str) -> int | None:
    """Return where an ELF file keeps `environ`, relative to its load address; None if it has none."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
        if image[:5] != b"\x7fELF\x02":
            raise ValueError(f"{os.path.basename(path)} is not a 64-bit ELF file")

        sections_at = struct.unpack_from("<Q", image, 0x28)[0]
        size, count = struct.unpack_from("<HH", image, 0x3A)
        sections = [
            struct.unpack_from("<IIQQQQIIQQ", image, sections_at + n * size) for n in range(count)
        ]

        for section in sections:
            if section[1] == _DYNAMIC_SYMBOLS:
                value = _symbol_value(image, section, sections[section[6]])

                if value is not None:
                    return value - _first_load_address(image)

    return None


def _symbol_value(image: mmap.mmap, table: tuple[int, ...], strings: tuple[int, ...]) -> int | None:
    """Return the value of `environ` in a symbol table; both arguments are section headers."""
    names = image[strings[4] : strings[4] + strings[5]]
    symbols = image[table[4] : table[4] + table[5]]

    for name_at, _, _, section, value, _ in struct.iter_unpack("<IBBHQQ", symbols):
        # Section 0: the file uses the symbol and does not define it.
        if section and value and names[name_at : names.index(b"\0", name_at)] in _SYMBOLS:
            return int(value)

    return None


def _first_load_address(image: mmap.mmap) -> int:
    headers_at = struct.unpack_from("<Q", image, 0x20)[0]
    size, count = struct.unpack_from("<HH", image, 0x36)

    for number in range(count):
        kind, _, _, address = struct.unpack_from("<IIQQ", image, headers_at + number * size)

        if kind == _LOADED:
            return int(address) & ~(_PAGE_BYTES - 1)

    return 0


def _read_variables(memory: BinaryIO, array_address: int) -> dict[str, str]:
    """Read the NULL-terminated array of `NAME=value` pointers."""
    if array_address == 0:
        raise ValueError("its environ is not set")

    found: dict[str, str] = {}

    for number in range(_MAX_VARIABLES):
        entry_address = _read_u64(memory, array_address + number * 8)

        if entry_address == 0:
            break

        name, separator, value = _read_text(memory, entry_address).partition("=")

        if separator:
            found[name] = value

    return found


def _read_bytes(memory: BinaryIO, address: int, size: int) -> bytes:
    memory.seek(address)
    return bytes(memory.read(size))


def _read_u64(memory: BinaryIO, address: int) -> int:
    return int(struct.unpack("<Q", _read_bytes(memory, address, 8))[0])


def _read_text(memory: BinaryIO, address: int) -> str:
    """Read a C string, page by page so as not to run into an unmapped one."""
    parts: list[bytes] = []
    length = 0

    while length < _MAX_VALUE_BYTES:
        page_left = _PAGE_BYTES - (address + length) % _PAGE_BYTES
        chunk = _read_bytes(memory, address + length, page_left)
        end = chunk.find(b"\0")

        if end >= 0:
            parts.append(chunk[:end])
            break

        parts.append(chunk)
        length += len(chunk)

    return b"".join(parts).decode("utf-8", "surrogateescape")


def compare_environ(live: dict[str, str], pid: str) -> dict[str, Any]:
    """Return the variables, redacted, and which were set after exec or are the raylet's too.

    `from_parent` names those that whoever started the process has too: its raylet, or outside Ray
    its launcher. It is None where their variables may not be read.
    """
    at_exec = environ_block(f"/proc/{pid}/environ") or {}
    yield_gil()
    known = sorted({*known_secrets(live), *known_secrets(at_exec)}, key=len, reverse=True)
    shown: dict[str, str] = {}

    for number, (name, value) in enumerate(live.items()):
        shown[name] = redact_pair(name, value, known)

        if number % _VARIABLES_AT_ONCE == 0:
            yield_gil()

    started_by = live.get(RAYLET_PID_VARIABLE) or launcher_of(pid, at_exec)
    parent = environ_block(f"/proc/{started_by}/environ")
    yield_gil()
    return {
        "variables": shown,
        "set_after_exec": [name for name, value in live.items() if at_exec.get(name) != value],
        "from_parent": [name for name, value in live.items() if parent.get(name) == value]
        if parent
        else None,
    }


def launcher_of(pid: str, at_exec: dict[str, str]) -> str:
    """Return the nearest ancestor that was not given this process's rank: not a shell around it."""
    names = [names.rank for names in RANK_VARIABLES if names.rank in at_exec]
    parent = parent_of(pid)

    for _ in range(_MAX_ANCESTORS):
        above = environ_block(f"/proc/{parent}/environ") or {}

        if not names or any(above.get(name) != at_exec[name] for name in names):
            break

        parent = parent_of(parent)

    return parent


def parent_of(pid: str) -> str:
    """Return the pid of a process's parent, field 4 of `/proc/PID/stat`; "0" for one that is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[1].decode()
    except (OSError, IndexError):
        return "0"


def environ_block(path: str) -> dict[str, str] | None:
    """Return a process's exec-time variables, None where they may not be read."""
    try:
        with open(path, "rb") as file:
            block = file.read()
    except OSError:
        return None

    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if b"=" in entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
