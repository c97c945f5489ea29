"""Whether a port of another host answers at all (stdlib only)."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

KNOCK_S = 1.0


def knock(places: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """Return "ok" or why there was no connection, by the name of each place."""
    if not places:
        return {}

    with ThreadPoolExecutor(max_workers=min(16, len(places))) as pool:
        return dict(zip(places, pool.map(answers, places.values()), strict=True))


def answers(place: tuple[str, int]) -> str:
    try:
        socket.create_connection(place, timeout=KNOCK_S).close()
    except TimeoutError:
        return f"no answer from {place[0]}:{place[1]} in {KNOCK_S:.0f} s"
    except OSError as error:
        return f"{place[0]}:{place[1]}: {error.strerror or error}"

    return "ok"
