"""The base of all records."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all records: immutable, named fields only.

    Data holds no cycle. Python's collector, which would go through all of it again and again, for
    a third of a second with ten thousand ranks, is told so.
    """
