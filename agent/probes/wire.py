"""The layout of a ring: records of 64 bytes, then a header of one page (stdlib only).

All numbers are signed 64-bit words in the machine's order. Times are of CLOCK_MONOTONIC, which
all processes of a machine share; the header has one pair of both clocks.

    record   number, start, end, code | flags << 16, first, second, thread, unused
    header   MAGIC, VERSION and sizes; the process; the clocks; its state; leases

A span takes its number when it begins, from 1 on, and writes it with a minus as its end before all
else: as long as it is open it has the same number at both places, and a record with two different
ones is being written. Its place in the ring is `number % capacity`. A span whose place was taken by
a later one before it ended takes another number then, and is MOVED.

The header is at the end, so that a record's place is all that its writer has to work out. Its words
are the same in all versions from 3 on: a ring that is left over can be told from one that is not.
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
"""Tells whether it is open, whole or being written."""
CODE: Final = 3
FIRST: Final = 4
SECOND: Final = 5
THREAD: Final = 6
CAPACITY: Final = 32_768
"""Records in a ring: 2 MiB, of the 64 MiB that a container's /dev/shm has by default."""

# Words of the header, from its beginning.
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
MOVED: Final = 1 << 18
"""Its place was taken while it was open: it has taken another number."""
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
