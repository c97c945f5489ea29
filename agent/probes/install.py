"""What rung 2 runs in a rank to put a probe in and to take it out (stdlib only, sent by value)."""

from __future__ import annotations

import os
import time
from typing import Any

from dsray_inspect.agent.probes.probe import Probe, installed
from dsray_inspect.agent.probes.ring import Ring
from dsray_inspect.agent.probes.wire import VERSION

DISABLE = "DSRAY_INSPECT_DISABLE"
"""A variable of the job that forbids probes."""


def install(_actor: Any, request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Put a probe in, or join the one that is there; returns its ring and what it cannot see.

    `request`: `token` of the session, `lease_s`, after which the probe leaves by itself when
    nobody has renewed it, and `capacity` of the ring.
    """
    if os.environ.get(DISABLE, "0") not in ("", "0"):
        return {"probe": None, "probe_why": f"the job forbids it: {DISABLE} is set"}

    probe = installed()

    if probe is not None and probe.version != VERSION:
        return {"probe": None, "probe_why": "another version of dsray-inspect traces this rank"}

    joined = probe is not None

    if probe is None:
        try:
            probe = Probe(Ring(request["capacity"]))
        except OSError as error:
            why = f"there is no room for a ring in /dev/shm: {error.strerror}"
            return {"probe": None, "probe_why": why}

    if not probe.hold(request["token"], request["lease_s"]):
        return {"probe": None, "probe_why": "too many sessions trace this rank"}

    if not joined:
        probe.put_in()

    return {
        "probe": {
            "ring": probe.ring.path,
            "pid": os.getpid(),
            "joined": joined,
            "put_in": len(probe.patches),
            "missing": list(probe.missing),
            "at": time.time(),
        },
        "probe_why": "ok",
    }


def uninstall(_actor: Any, request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Give the session's lease back; the last one to do so takes the probe out.

    `request`: `token`. Returns `gone`, and what stayed under somebody else's patches.
    """
    probe = installed()

    if probe is None:
        return {"gone": True, "covered": []}

    covered = probe.let_go(request["token"])
    return {"gone": covered is not None, "covered": covered or []}


def tidy(_actor: Any, _request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Take out a probe whose sessions are gone: for a rank that calls nothing that would notice."""
    probe = installed()

    if probe is not None:
        probe.take_out_expired()

    return {}
