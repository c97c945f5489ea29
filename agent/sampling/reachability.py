"""Whether a port of another host answers at all."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from dsray_inspect.agent.unavailable import Unavailable

KNOCK_S = 1.0


def knock(places: Mapping[str, tuple[str, int]]) -> dict[str, Unavailable]:
    """Return why there was no connection, by the name of each place that did not answer."""
    if not places:
        return {}

    with ThreadPoolExecutor(max_workers=min(16, len(places))) as pool:
        failures = zip(places, pool.map(_failure_at, places.values()), strict=True)
        return {name: failure for name, failure in failures if failure is not None}


def _failure_at(place: tuple[str, int]) -> Unavailable | None:
    host, port = place

    try:
        socket.create_connection(place, timeout=KNOCK_S).close()
    except TimeoutError:
        detail = f"no answer from {host}:{port} in {KNOCK_S:.0f} s"
        return Unavailable(reason="timeout", detail=detail)
    except OSError as error:
        return Unavailable(reason="failed", detail=f"{host}:{port}: {error.strerror or error}")

    return None
