"""The ring file: made and written in the trainer, read from any other process (stdlib only).

Several threads write, each into a place of its own: the counter that gives out numbers is one
C call. Readers keep their own place, so there may be many; a slow one loses the oldest records
and knows how many. The file needs no end: what a killed writer wrote can be read.
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
    OPEN,
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
    W_OPEN,
    W_PID,
    W_STATE,
    W_VERSION,
    W_WALL_NS,
    WORD,
)


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
        self.places = list(range(W_OPEN, W_OPEN + 2 * OPEN, 2))
        """Free places in the table of open spans."""
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

    def close(self) -> None:
        self.words.release()
        self.memory.close()

    def writer_lives(self) -> bool:
        return born(self.words[W_PID]) == self.words[W_BORN]

    def skip_all(self) -> None:
        """Begin with what is written from now on."""
        numbers = self.words[HEADER_BYTES // WORD :: RECORD_BYTES // WORD].tolist()
        self._next = max(numbers) + 1

    def read(self) -> bytes:
        """Return the records that are new, whole ones only, oldest first."""
        found = bytearray()

        while True:
            raw = self._copy(self._next)
            first, last = number_of(raw)

            if first == last == self._next and self._copy(self._next) == raw:
                found += raw
                self._next += 1
            elif max(first, last) > self._next:
                self._skip_to(max(first, last) - self.capacity + 1 + self.capacity // 16)
            elif self._is_left_behind():
                self._skip_to(self._next + 1)
            else:
                return bytes(found)

    def open_spans(self) -> list[tuple[int, int]]:
        """Return start and code of the spans that are not finished, outermost first."""
        table = self.words[W_OPEN : W_OPEN + 2 * OPEN].tolist()
        pairs = zip(table[::2], table[1::2], strict=True)
        return sorted((start, code) for start, code in pairs if start)

    def _copy(self, number: int) -> bytes:
        at = HEADER_BYTES + (number - 1) % self.capacity * RECORD_BYTES
        return self.memory[at : at + RECORD_BYTES]

    def _skip_to(self, number: int) -> None:
        number = max(number, self._next + 1)
        self.dropped += number - self._next
        self._next = number

    def _is_left_behind(self) -> bool:
        """Return whether the next record will never be whole: many after it are, or nobody writes."""
        later = self._next + min(256, self.capacity // 2)
        first, last = number_of(self._copy(later))
        half_written = self._next in number_of(self._copy(self._next))
        return first == last == later or (half_written and not self.writer_lives())


def number_of(raw: bytes) -> tuple[int, int]:
    """Return the number at either end of a record."""
    return (
        int.from_bytes(raw[:WORD], "little", signed=True),
        int.from_bytes(raw[-WORD:], "little", signed=True),
    )


def records(raw: bytes) -> list[tuple[int, ...]]:
    """Return the records of what `Reader.read` gave, as tuples of words."""
    return list(struct.iter_unpack(RECORD, raw))
