"""The layout of a ring: records of 64 bytes, then a header of one page (stdlib only).

All numbers are signed 64-bit words in the machine's order. Times are of CLOCK_MONOTONIC, which
all processes of a machine share; the header has one pair of both clocks.

    record   number, start, end, code | flags << 16, first, second, thread, unused
    header   MAGIC, VERSION and sizes; the process; the clocks; its state; leases

A span takes its number when it begins, counting from 1, and first writes the negated number as its
end: an open span has the same number in both words, and a record with two different ones is being
written. Its slot is `number % capacity`. If a later span takes the slot before it has ended, the span
takes a new number then and is flagged MOVED.

The header is at the end, so that a writer only has to compute the slot. Its words are the same in all
versions since 3, so that abandoned rings of other versions can be recognized.
"""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = int.from_bytes(b"dsrayrng", "little")
VERSION: Final = 4
FOLDER: Final = "/dev/shm"
PREFIX: Final = "dsray-"

WORD: Final = 8
HEADER_BYTES: Final = 4096
RECORD: Final = "=7q8x"
"""For `struct`; a `struct.Struct` cannot be sent by value."""
RECORD_BYTES: Final = struct.calcsize(RECORD)
WORDS: Final = RECORD_BYTES // WORD

# Words of a record.
NUMBER: Final = 0
START: Final = 1
END: Final = 2
"""Says whether the record is open, complete or being written."""
CODE: Final = 3
FIRST: Final = 4
SECOND: Final = 5
THREAD: Final = 6
CAPACITY: Final = 32_768
"""Records per ring: 2 MiB of the 64 MiB that /dev/shm of a container has by default."""

# Words of the header, from its beginning.
W_MAGIC: Final = 0
W_VERSION: Final = 1
W_CAPACITY: Final = 2
W_PID: Final = 3
W_BORN: Final = 4
"""When the process started, in clock ticks since boot, because pids are reused."""
W_WALL_NS: Final = 5
W_CLOCK_NS: Final = 6
"""CLOCK_MONOTONIC at `W_WALL_NS`."""
W_STATE: Final = 7
W_DEADLINE_NS: Final = 8
"""The latest of all leases. After it, the next probed call removes the probe."""
W_MAIN_THREAD: Final = 9
"""`threading.get_ident()` of the main thread."""
W_HOLDERS: Final = 16
HOLDERS: Final = 16
"""Pairs of words: the token of a holder, 0 for a free slot, and the end of its lease."""

RECORDING: Final = 1
CLOSED: Final = 2

# Flags of a record.
FAILED: Final = 1 << 16
"""The call raised an exception."""
ADVANCED: Final = 1 << 17
"""The call increased the engine's global step."""
MOVED: Final = 1 << 18
"""Its slot was overwritten while it was open, so it has a new number."""
UNCOUNTED: Final = -1
"""The step of an engine without step counts."""
CODE_MASK: Final = (1 << 16) - 1

# Codes: the kind of a span. Comments give the meaning of `first` and `second`.
FORWARD: Final = 1  # global step, micro step; so for all that an engine does
BACKWARD: Final = 2
BACKWARD_PROLOGUE: Final = 3
BACKWARD_EPILOGUE: Final = 4
STEP: Final = 5
TRAIN_BATCH: Final = 6
EVAL_BATCH: Final = 7
GRAD_REDUCE: Final = 8
SAVE_CHECKPOINT: Final = 9
LOAD_CHECKPOINT: Final = 10
ZERO_GATHER: Final = 16  # nothing
ZERO_PARTITION: Final = 17
REPORT: Final = 32  # nothing
OBJECT_GET: Final = 33  # nothing
OBJECT_PUT: Final = 34
SERIALIZE: Final = 35  # nothing, bytes
DESERIALIZE: Final = 36  # nothing, bytes
DEVICE: Final = 64  # code of the span, nanoseconds on the device; start and end are the host's
