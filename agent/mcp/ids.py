"""Ids of samples and of their parts, as answers give them: s1.3, s1.3:f0, i2.5:r7."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from dsray_inspect.agent.errors import UsageError

PARTS: Final = {
    "f": "finding",
    "r": "rank",
    "k": "stack",
    "w": "wait",
    "e": "variable",
}
_ID: Final = re.compile(rf"([si]\d+\.\d+)(?::([{''.join(PARTS)}])(\d{{1,9}}))?")


class PartId(NamedTuple):
    """A sample, and the part of it that is meant; `kind` is "" for the sample itself."""

    sample: str
    kind: str
    number: int


def parse(id: str) -> PartId:
    """Take an id apart.

    Raises:
        UsageError: It is none.
    """
    found = _ID.fullmatch(id)

    if found is None:
        raise UsageError(
            f"{id} is no id of an answer.",
            help_text="Give an id as another answer has it, such as s1.3:f0.",
        )

    return PartId(found[1], found[2] or "", int(found[3] or 0))
