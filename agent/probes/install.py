"""Installs and removes the probe of a rank, as in-process reads (stdlib only, sent by value)."""

from __future__ import annotations

import os
import time
from typing import Any

from dsray_inspect.agent.probes.probe import Probe, installed
from dsray_inspect.agent.probes.ring import Ring
from dsray_inspect.agent.probes.wire import VERSION

_DISABLE = "DSRAY_INSPECT_DISABLE"
"""Set in the environment of a job, it forbids probes."""


def install(_actor: Any, request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Install a probe, or join the existing one; return its ring and the functions it misses.

    `request`: `token` of the session, `lease_s`, after which the probe uninstalls itself unless the
    lease is renewed, and `capacity` of the ring.
    """
    if os.environ.get(_DISABLE, "0") not in ("", "0"):
        return {"probe": None, "probe_why": f"the job forbids it: {_DISABLE} is set"}

    probe = installed()

    if probe is not None and probe.version != VERSION:
        return {"probe": None, "probe_why": "another version of dsray-inspect is tracing this rank"}

    joined = probe is not None

    if probe is None:
        try:
            probe = Probe(Ring(request["capacity"]))
        except OSError as error:
            why = f"no ring can be created in /dev/shm: {error.strerror}"
            return {"probe": None, "probe_why": why}

    if not probe.hold(request["token"], request["lease_s"]):
        return {"probe": None, "probe_why": "too many sessions are tracing this rank"}

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
    """Release the session's lease; with the last lease the probe is removed.

    `request`: `token`. Returns `gone`, and the functions that other code patched after the probe.
    """
    probe = installed()

    if probe is None:
        return {"gone": True, "covered": []}

    covered = probe.let_go(request["token"])
    return {"gone": covered is not None, "covered": covered or []}


def tidy(_actor: Any, _request: dict[str, Any], _seen: dict[str, Any]) -> dict[str, Any]:
    """Remove a probe whose sessions are gone, in a rank that makes no instrumented calls."""
    probe = installed()

    if probe is not None:
        probe.take_out_expired()

    return {}
