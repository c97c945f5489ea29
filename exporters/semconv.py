"""Attribute names, on the spans of a `Timeline` and in exported traces.

Names from OpenTelemetry's semantic conventions and from Ray's own tracing are used unchanged, so
that spans of both can be joined; names of our own begin with `dsray.`. A name that the code which
makes the spans needs too is defined there (`agent.tracing.names`, `agent.startup.spans`).
"""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.startup import spans
from dsray_inspect.agent.tracing import names

# OpenTelemetry: resource
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
PROCESS_RUNTIME_NAME: Final = "process.runtime.name"
PROCESS_RUNTIME_VERSION: Final = "process.runtime.version"

# OpenTelemetry: the process a span belongs to
HOST_NAME: Final = "host.name"
PROCESS_PID: Final = "process.pid"
ERROR_TYPE: Final = names.ERROR_TYPE
HW_ID: Final = "hw.id"
"""The UUIDs of the process's GPUs."""

# Ray's own keys (ray/util/tracing/tracing_helper.py)
RAY_JOB_ID: Final = "ray.job_id"
RAY_NODE_ID: Final = "ray.node_id"
RAY_ACTOR_ID: Final = "ray.actor_id"
RAY_WORKER_ID: Final = "ray.worker_id"
RAY_PID: Final = "ray.pid"
RAY_SUBMISSION_ID: Final = "ray.submission_id"

# Our own: whose span it is
RUN_ID: Final = "dsray.run.id"
RUN_NAME: Final = "dsray.run.name"
RUN_ATTEMPT_ID: Final = "dsray.run.attempt.id"
ROLE: Final = "dsray.process.role"
RANK_WORLD: Final = "dsray.rank.world"
STEP_GLOBAL: Final = "dsray.step.global"
STEP_MICRO: Final = "dsray.step.micro"
STEP_INFERRED: Final = names.INFERRED
SPAN_OPEN: Final = "dsray.span.open"
"""True on a span without a known end: the process was still in it, or died in it."""

# Our own: what happened in it
PHASE_NAME: Final = "dsray.phase.name"
COLLECTIVE_SYSTEM: Final = names.COLLECTIVE_SYSTEM
COLLECTIVE_OPERATION: Final = names.COLLECTIVE_OPERATION
COLLECTIVE_GROUP: Final = names.COLLECTIVE_GROUP
COLLECTIVE_GROUP_SIZE: Final = names.COLLECTIVE_GROUP_SIZE
COLLECTIVE_SEQUENCE: Final = names.COLLECTIVE_SEQUENCE
COLLECTIVE_SIZE: Final = names.COLLECTIVE_SIZE
COLLECTIVE_DTYPE: Final = names.COLLECTIVE_DTYPE
COLLECTIVE_P2P: Final = names.COLLECTIVE_P2P
OBJECT_SIZE: Final = names.OBJECT_SIZE
OP_NAME: Final = spans.OP_NAME
IMPORT_TARGET: Final = spans.IMPORT_TARGET
