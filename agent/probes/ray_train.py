"""What a rank asks of Ray: reports, and objects with their bytes (stdlib only).

The methods behind `ray.train.report`, `ray.get` and `ray.put` are probed, not these functions:
a script may have them by another name. Names are those of Ray 2.60.
"""

from __future__ import annotations

from typing import Any

from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.targets import Target

WORKER = "ray._private.worker"
SERIALIZATION = "ray._private.serialization"


def serialized_bytes(_args: tuple[Any, ...], result: Any) -> int:
    return int(getattr(result, "total_bytes", 0))


def got_bytes(args: tuple[Any, ...], _result: Any) -> int:
    """Return the bytes of the objects that `deserialize_objects` was given: (data, metadata, …)."""
    return sum(len(one[0]) for one in args[1] if one[0] is not None)


TARGETS = (
    Target(
        "ray.train.v2._internal.execution.train_fn_utils",
        "DistributedTrainFnUtils",
        "report",
        wire.REPORT,
    ),
    Target("ray.train._internal.session", "_TrainSession", "report", wire.REPORT),
    Target(WORKER, "Worker", "get_objects", wire.OBJECT_GET),
    Target(WORKER, "Worker", "put_object", wire.OBJECT_PUT),
    Target(
        SERIALIZATION, "SerializationContext", "serialize", wire.SERIALIZE, measure=serialized_bytes
    ),
    Target(WORKER, "Worker", "deserialize_objects", wire.DESERIALIZE, measure=got_bytes),
)
