"""The layout of a ring: a header of one page, then records of 64 bytes (stdlib only).

All numbers are signed 64-bit words in the machine's order. Times are of CLOCK_MONOTONIC, which
all processes of a machine share; the header has one pair of both clocks.

    header   MAGIC, VERSION and sizes; the process; the clocks; its state; leases
    record   number, start, end, code | flags << 16, first, second, thread, number

A span takes its number when it begins. The number is in the first word of its record, and in the
last one with a minus as long as it is open: a reader that sees anything else looked while it was
written. Numbers begin with 1; number n is in place n % capacity. A span whose place was taken by
a later one before it ended takes another number then.
"""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = int.from_bytes(b"dsrayrng", "little")
VERSION: Final = 2
FOLDER: Final = "/dev/shm"
PREFIX: Final = "dsray-"

WORD: Final = 8
HEADER_BYTES: Final = 4096
RECORD: Final = "=8q"
"""For `struct`; a `struct.Struct` cannot be sent by value."""
RECORD_BYTES: Final = struct.calcsize(RECORD)
CAPACITY: Final = 32_768
"""Records in a ring: 2 MiB, of the 64 MiB that a container's /dev/shm has by default."""

# Words of the header.
W_MAGIC: Final = 0
W_VERSION: Final = 1
W_CAPACITY: Final = 2
W_PID: Final = 3
W_BORN: Final = 4
"""When the process began, in clock ticks since boot: a pid can come again."""
W_WALL_NS: Final = 5
W_CLOCK_NS: Final = 6
"""CLOCK_MONOTONIC at `W_WALL_NS`."""
W_STATE: Final = 7
W_DEADLINE_NS: Final = 8
"""The latest of all leases. Past it, the next probed call takes the probe out."""
W_MAIN_THREAD: Final = 9
"""What `threading.get_ident()` is on the main thread."""
W_HOLDERS: Final = 16
HOLDERS: Final = 16
"""Pairs of words: a holder's token, 0 for a free place, and until when it has its lease."""

RECORDING: Final = 1
CLOSED: Final = 2

# Flags of a record.
FAILED: Final = 1 << 16
"""An exception left the span."""
ADVANCED: Final = 1 << 17
"""The engine's global step is higher than before the call."""
UNCOUNTED: Final = -1
"""The step of an engine that does not count."""
CODE_MASK: Final = (1 << 16) - 1

# Codes: what a span is of. `first` and `second` of a record are given after the name.
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
