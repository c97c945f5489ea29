"""Which versions are supported, and what is known to be missing on some of them.

This is for people: `doctor` and docs/versions.md show it. No code decides by it what to read.
"""

from __future__ import annotations

import re
import typing
from typing import Final

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.compat.rows import Row

OLDEST_RAY: Final = "2.44"
LACKS_ON_OLDER_RAY: Final = {
    "ANSWERING_CONTROLLER": "Ray Train V2's controller answers no call during a run: its id, name,"
    " attempt and failures are not known, and ranks come from RANK",
    "START_CALLBACKS": "what `submit` records has no moments of Ray Train V2's controller",
    "FAILURE_POLICY": "the log of Ray Train V2's controller does not say what the ranks failed of",
    "V2_MONITORING_THREAD": "a rank of Ray Train V2 that has left its training function reads as"
    " starting",
    "GROUP_INITIALIZATION": "the log of Ray Train V2's controller does not time a group's start",
    "REPORT_SECONDS": "Ray Train V2 counts no seconds in `ray.train.report`",
    "CHECKPOINT_SYNC_SECONDS": "the seconds in `ray.train.report` are not split into barrier and upload",
}
"""What is lost, by the row of Ray's shelf that it needs; that row says since when Ray has it."""


class Gap(typing.NamedTuple):
    """What is missing below a version."""

    since: str
    lost: str


def gaps() -> list[Gap]:
    """Return everything that some supported Ray lacks, the newest first."""
    found = [Gap(_since(name), lost) for name, lost in LACKS_ON_OLDER_RAY.items()]
    return sorted(found, key=lambda gap: version_tuple(gap.since), reverse=True)


def lacking(version: str) -> tuple[str, ...]:
    """Return what a version of Ray is known to lack."""
    ours = version_tuple(version)
    return tuple(gap.lost for gap in gaps() if ours < version_tuple(gap.since))


def is_supported(version: str) -> bool:
    """Return whether a version of Ray is new enough; one that cannot be read counts as such."""
    ours = version_tuple(version)
    return not ours or ours >= version_tuple(OLDEST_RAY)


def version_tuple(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _since(name: str) -> str:
    for module in _MODULES:
        for row in getattr(
            typing.get_type_hints(module, include_extras=True).get(name), "__metadata__", ()
        ):
            if isinstance(row, Row):
                return row.since

    raise KeyError(name)


_MODULES = (ray.files, ray.frames, ray.logs, ray.methods, ray.objects, ray.tasks)
