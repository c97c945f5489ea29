"""What a traceback says: the user's frame, and whether the error is the consequence of another's."""

from __future__ import annotations

import re

from dsray_inspect.agent.detectors.detection import Place
from dsray_inspect.agent.stacks.layers import home

FRAME = re.compile(r'File "([^"]+)", line (\d+)(?:, in (\S+))?')
SECONDARY = re.compile(
    r"Connection (?:reset|closed) by peer|remote process exited|Broken pipe|NCCL.*remote"
    r"|Timed out waiting .*(?:recv|send)|A worker health check failed|DistStoreError"
    r"|ActorDiedError|WorkerCrashedError"
)
"""Errors of a rank that another rank causes."""


def user_place(text: str) -> Place | None:
    """Return the innermost frame of the user's own code; no package's and no standard library's."""
    own = [
        Place(name=name, file=file.rpartition("/")[2], line=int(line))
        for file, line, name in FRAME.findall(text)
        if home(file)[0] == ""
    ]
    return own[-1] if own else None
