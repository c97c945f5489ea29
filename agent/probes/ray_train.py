"""What a rank asks of Ray: reports, and objects with their bytes (stdlib only).

The methods behind `ray.train.report`, `ray.get` and `ray.put` are probed, not these functions:
a script may have them by another name.
"""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.compat.ray import (
    DESERIALIZE,
    GET_OBJECTS,
    PUT_OBJECT,
    REPORT_V1,
    REPORT_V2,
    SERIALIZE,
    SERIALIZED_BYTES,
)
from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.targets import Target


def _serialized_bytes(_args: tuple[Any, ...], result: Any) -> int:
    return int(getattr(result, SERIALIZED_BYTES, 0))


def _got_bytes(args: tuple[Any, ...], _result: Any) -> int:
    """Return the bytes of the objects that `deserialize_objects` was given: (data, metadata, …)."""
    return sum(len(pair[0]) for pair in args[1] if pair[0] is not None)


TARGETS = (
    Target(*REPORT_V2, wire.REPORT),
    Target(*REPORT_V1, wire.REPORT),
    Target(*GET_OBJECTS, wire.OBJECT_GET),
    Target(*PUT_OBJECT, wire.OBJECT_PUT),
    Target(*SERIALIZE, wire.SERIALIZE, measure=_serialized_bytes),
    Target(*DESERIALIZE, wire.DESERIALIZE, measure=_got_bytes),
)
