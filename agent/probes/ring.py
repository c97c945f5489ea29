"""The ring file: created and written by the trainer, read by any other process (stdlib only).

Several threads write, each to its own slot: the counter that assigns numbers is one C call. Readers
keep their own position, so there can be many; a slow one loses the oldest records and knows how many.
The file needs no proper end: records of a killed writer stay readable, including its open spans.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import secrets
import struct
import threading
import time

from dsray_inspect.agent.probes.wire import (
    CAPACITY,
    CODE,
    END,
    FIRST,
    FOLDER,
    HEADER_BYTES,
    MAGIC,
    MOVED,
    NUMBER,
    PREFIX,
    RECORD,
    RECORD_BYTES,
    RECORDING,
    SECOND,
    START,
    THREAD,
    VERSION,
    W_BORN,
    W_CAPACITY,
    W_CLOCK_NS,
    W_MAGIC,
    W_MAIN_THREAD,
    W_PID,
    W_STATE,
    W_VERSION,
    W_WALL_NS,
    WORD,
    WORDS,
)

_NUMBER_AND_END = "=q8xq"
"""The beginning of a record, for `struct`."""


class RingUnreadable(Exception):
    """Raised when a file is not a ring of this version."""


class Ring:
    """The writing side. Wrappers use its attributes directly, because method calls cost too much."""

    def __init__(self, capacity: int = CAPACITY, folder: str = FOLDER) -> None:
        if capacity < 1 or capacity & (capacity - 1):
            raise ValueError(f"the capacity of a ring is a power of two, not {capacity}")

        self.capacity = capacity
        self.path = os.path.join(folder, f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}")
        self.memory = _make(self.path, capacity * RECORD_BYTES + HEADER_BYTES)
        self.words = memoryview(self.memory).cast("q")
        self.header = self.words[capacity * WORDS :]
        self.columns = [self.words[word : capacity * WORDS : WORDS] for word in range(WORDS)]
        """One per word of a record, each indexed by slot."""
        self.numbers = itertools.count(1)
        header = self.header
        header[W_VERSION], header[W_CAPACITY] = VERSION, capacity
        header[W_PID], header[W_BORN] = os.getpid(), _born(os.getpid()) or 0
        header[W_WALL_NS], header[W_CLOCK_NS] = time.time_ns(), time.monotonic_ns()
        header[W_MAIN_THREAD] = threading.main_thread().ident or 0
        header[W_STATE] = RECORDING
        header[W_MAGIC] = MAGIC

    def begin(self, start: int, code: int, first: int, second: int) -> int:
        """Begin a record; return its slot.

        The wrappers inline the same code, because calls cost too much.
        """
        number = next(self.numbers)
        at = number % self.capacity
        columns = self.columns
        columns[END][at] = -number
        columns[CODE][at] = code
        columns[FIRST][at] = first
        columns[SECOND][at] = second
        columns[THREAD][at] = threading.get_ident()
        columns[START][at] = start
        columns[NUMBER][at] = number
        return at

    def end(self, at: int, end: int) -> None:
        """End the record in a slot."""
        self.columns[END][at] = end

    def close(self) -> None:
        """Remove the file and the mapping; readers that have it open are not affected."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)

        for view in (*self.columns, self.header, self.words):
            view.release()

        self.memory.close()


def _make(path: str, size: int) -> mmap.mmap:
    """Create a file and allocate all of it: writing to a hole could raise SIGBUS."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)

    try:
        os.posix_fallocate(file, 0, size)
        return mmap.mmap(file, size)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(file)


def _born(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it does not exist."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None

    return None if fields[0] in b"ZX" else int(fields[19])


class Reader:
    """A reader of a ring, usually in another process; must be closed."""

    def __init__(self, path: str, *, any_version: bool = False) -> None:
        """Open a ring; with `any_version` only the header may be read.

        Raises:
            OSError: It cannot be opened.
            RingUnreadable: It is not a ring, or one of another version.
        """
        self.path = path
        self.dropped = 0
        """Records that were overwritten before they were read, or will never be complete."""
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

        try:
            size = os.fstat(file).st_size

            if size < HEADER_BYTES or size % RECORD_BYTES:
                raise RingUnreadable(f"{path} is not a ring")

            self.memory = mmap.mmap(file, 0)
        finally:
            os.close(file)

        self.words = memoryview(self.memory).cast("q")
        self.header = self.words[-(HEADER_BYTES // WORD) :]
        self.capacity = self.header[W_CAPACITY]

        known = any_version or self.header[W_VERSION] == VERSION

        if self.header[W_MAGIC] != MAGIC or not known:
            self.close()
            raise RingUnreadable(f"{path} is not a ring of version {VERSION}")

        if self.capacity < 1 or size != self.capacity * RECORD_BYTES + HEADER_BYTES:
            self.close()
            raise RingUnreadable(f"the size of {path} does not match its header")

        self._next = 1
        self._open: set[int] = set()
        """Numbers below `_next` of spans that were still open when they were read."""
        self._gone = 0
        """How many of those were overwritten; each is lost, or moves when it ends."""

    def close(self) -> None:
        self.header.release()
        self.words.release()
        self.memory.close()

    def writer_lives(self) -> bool:
        return _born(self.header[W_PID]) == self.header[W_BORN]

    def skip_all(self) -> None:
        """Skip existing records; spans that are open now will still be read."""
        numbers, ends = self._column(NUMBER), self._column(END)
        self._next = max(numbers) + 1
        self._open = {n for n, end in zip(numbers, ends, strict=True) if n and end == -n}

    def read(self) -> bytes:
        """Return new complete records; open ones follow when they end."""
        found = bytearray()

        for number in sorted(self._open):
            raw, newest, is_open = self._peek(number)

            if newest == number and not is_open:
                self._open.discard(number)
                found += raw
                self._count_moved(raw)
            elif newest > number:
                self._open.discard(number)
                self._gone += 1
                self.dropped += 1

        while True:
            raw, newest, is_open = self._peek(self._next)

            if newest == self._next:
                if is_open:
                    self._open.add(self._next)
                else:
                    found += raw
                    self._count_moved(raw)

                self._next += 1
            elif newest > self._next:
                self._skip_to(newest - (self.capacity - 1 - self.capacity // 16))
            elif self._is_left_behind():
                self._skip_to(self._next + 1)
            else:
                return bytes(found)

    def _count_moved(self, raw: bytes) -> None:
        if self._gone and records(raw)[0][CODE] & MOVED:
            self._gone -= 1
            self.dropped -= 1

    def open_spans(self) -> list[tuple[int, int]]:
        """Return start and code of the open spans, outermost first."""
        found = []

        for number in itertools.chain(sorted(self._open), itertools.count(self._next)):
            raw, newest, is_open = self._peek(number)

            if newest == number and is_open:
                row = records(raw)[0]
                found.append((row[START], row[CODE]))
            elif newest != number and number >= self._next:
                break

        return sorted(found)

    def _column(self, word: int) -> list[int]:
        values: list[int] = self.words[word : self.capacity * WORDS : WORDS].tolist()
        return values

    def _copy(self, number: int) -> bytes:
        at = number % self.capacity * RECORD_BYTES
        return self.memory[at : at + RECORD_BYTES]

    def _peek(self, number: int) -> tuple[bytes, int, bool]:
        """Return the record in the slot of a number, the newest number there, and if it is open.

        The newest number is 0 if the record changed while it was copied, or if the wanted one is just
        being started.
        """
        raw = self._copy(number)

        if self._copy(number) != raw:
            return raw, 0, False

        whole, end = struct.unpack_from(_NUMBER_AND_END, raw)
        begun = max(whole, -end)
        return raw, 0 if whole < begun <= number else begun, end < 0

    def _skip_to(self, number: int) -> None:
        number = max(number, self._next + 1)
        self.dropped += number - self._next
        self._next = number

    def _is_left_behind(self) -> bool:
        """Return whether the next record will never be complete: later ones are, or the writer died."""
        later = self._next + min(256, self.capacity // 2)
        _, end = struct.unpack_from(_NUMBER_AND_END, self._copy(self._next))
        is_begun = end == -self._next
        return self._peek(later)[1] == later or (is_begun and not self.writer_lives())


def records(raw: bytes) -> list[tuple[int, ...]]:
    """Split the bytes of `Reader.read` into records, each a tuple of words."""
    return list(struct.iter_unpack(RECORD, raw))
