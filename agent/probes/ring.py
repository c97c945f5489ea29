"""The ring file: made and written in the trainer, read from any other process (stdlib only).

Several threads write, each into a place of its own: the counter that gives out numbers is one
C call. Readers keep their own place, so there may be many; a slow one loses the oldest records
and knows how many. The file needs no end: what a killed writer wrote can be read, the spans that
it was in among it.
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
    FOLDER,
    HEADER_BYTES,
    MAGIC,
    PREFIX,
    RECORD,
    RECORD_BYTES,
    RECORDING,
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
)

LAST = RECORD_BYTES // WORD - 1
"""The last word of a record."""


class RingUnreadable(Exception):
    """Raised when a file is no ring of this version."""


class Ring:
    """The writing side; its parts are taken by the wrappers, which have no time for methods."""

    def __init__(self, capacity: int = CAPACITY, folder: str = FOLDER) -> None:
        self.capacity = capacity
        self.path = os.path.join(folder, f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}")
        self.memory = make(self.path, HEADER_BYTES + capacity * RECORD_BYTES)
        self.words = memoryview(self.memory).cast("q")
        self.numbers = itertools.count(1)
        words = self.words
        words[W_VERSION], words[W_CAPACITY] = VERSION, capacity
        words[W_PID], words[W_BORN] = os.getpid(), born(os.getpid()) or 0
        words[W_WALL_NS], words[W_CLOCK_NS] = time.time_ns(), time.monotonic_ns()
        words[W_MAIN_THREAD] = threading.main_thread().ident or 0
        words[W_STATE] = RECORDING
        words[W_MAGIC] = MAGIC

    def close(self) -> None:
        """Remove the file and the mapping; who has it open reads on."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)

        self.words.release()
        self.memory.close()


def make(path: str, size: int) -> mmap.mmap:
    """Return a new file in memory, all of it there: writing to a hole would be a SIGBUS."""
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


def born(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None

    return None if fields[0] in b"ZX" else int(fields[19])


class Reader:
    """One reader of a ring, in another process as a rule; close it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.dropped = 0
        """Records that were overwritten, or found half-written, before they were read."""
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

        try:
            if os.fstat(file).st_size < HEADER_BYTES:
                raise RingUnreadable(f"{path} is no ring")

            self.memory = mmap.mmap(file, 0)
        finally:
            os.close(file)

        self.words = memoryview(self.memory).cast("q")
        self.capacity = self.words[W_CAPACITY]
        told = HEADER_BYTES + self.capacity * RECORD_BYTES

        if self.words[W_MAGIC] != MAGIC or self.words[W_VERSION] != VERSION:
            self.close()
            raise RingUnreadable(f"{path} is no ring of version {VERSION}")

        if self.capacity < 1 or len(self.memory) != told:
            self.close()
            raise RingUnreadable(f"{path} has another size than it says")

        self._next = 1
        self._open: set[int] = set()
        """Numbers below `_next` of spans that had not ended when they were read."""

    def close(self) -> None:
        self.words.release()
        self.memory.close()

    def writer_lives(self) -> bool:
        return born(self.words[W_PID]) == self.words[W_BORN]

    def skip_all(self) -> None:
        """Begin with what is written from now on; spans that are open now will be."""
        first, last = (self._column(word) for word in (0, LAST))
        self._next = max(first) + 1
        self._open = {n for n, end in zip(first, last, strict=True) if n and end == -n}

    def read(self) -> bytes:
        """Return the records that are new, whole ones only; open ones follow when they end."""
        found = bytearray()

        for number in sorted(self._open):
            raw, first, last = self._look(number)

            if first == last == number:
                found += raw

            if first and (first, last) != (number, -number):
                self._open.discard(number)

        while True:
            raw, first, last = self._look(self._next)

            if first == self._next == abs(last):
                if last > 0:
                    found += raw
                else:
                    self._open.add(self._next)

                self._next += 1
            elif max(first, abs(last)) > self._next:
                self._skip_to(max(first, abs(last)) - self.capacity + 1 + self.capacity // 16)
            elif self._is_left_behind():
                self._skip_to(self._next + 1)
            else:
                return bytes(found)

    def open_spans(self) -> list[tuple[int, int]]:
        """Return start and code of the spans that have not ended, outermost first."""
        found, number = [], self._next
        numbers = sorted(self._open)

        while number_of(self._copy(number))[0] == number:
            numbers.append(number)
            number += 1

        for number in numbers:
            raw, first, last = self._look(number)

            if (first, last) == (number, -number):
                row = records(raw)[0]
                found.append((row[1], row[3]))

        return sorted(found)

    def _column(self, word: int) -> list[int]:
        values: list[int] = self.words[HEADER_BYTES // WORD + word :: RECORD_BYTES // WORD].tolist()
        return values

    def _copy(self, number: int) -> bytes:
        at = HEADER_BYTES + number % self.capacity * RECORD_BYTES
        return self.memory[at : at + RECORD_BYTES]

    def _look(self, number: int) -> tuple[bytes, int, int]:
        """Return a record that did not change while it was copied, and its numbers; 0, 0 if it did."""
        raw = self._copy(number)
        return (raw, *number_of(raw)) if self._copy(number) == raw else (raw, 0, 0)

    def _skip_to(self, number: int) -> None:
        number = max(number, self._next + 1)
        self.dropped += number - self._next
        self._next = number

    def _is_left_behind(self) -> bool:
        """Return whether the next record will never be whole: many after it are, or nobody writes."""
        later = self._next + min(256, self.capacity // 2)
        half_written = self._next in map(abs, number_of(self._copy(self._next)))
        return number_of(self._copy(later))[0] == later or (
            half_written and not self.writer_lives()
        )


def number_of(raw: bytes) -> tuple[int, int]:
    """Return the number at either end of a record."""
    return (
        int.from_bytes(raw[:WORD], "little", signed=True),
        int.from_bytes(raw[-WORD:], "little", signed=True),
    )


def records(raw: bytes) -> list[tuple[int, ...]]:
    """Return the records of what `Reader.read` gave, as tuples of words."""
    return list(struct.iter_unpack(RECORD, raw))
