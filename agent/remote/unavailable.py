"""How a read says that it has no answer (stdlib only, sent by value).

Reasons are those of `agent.unavailable.Reason`, which such a dict becomes.
"""

from __future__ import annotations

from typing import Any


def unavailable(reason: str, detail: str) -> dict[str, Any]:
    return {"reason": reason, "detail": detail}
