"""Names of attributes, on the spans of a `Timeline` and in what the exporters write.

Names of OpenTelemetry's semantic conventions and of Ray's own tracing are copied as they are,
so that our spans join theirs; ours begin with `dsray.`. This module imports nothing of ours:
whoever makes spans may import it.
"""

from __future__ import annotations

from typing import Final

# OpenTelemetry: resource
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
PROCESS_RUNTIME_NAME: Final = "process.runtime.name"
PROCESS_RUNTIME_VERSION: Final = "process.runtime.version"

# OpenTelemetry: the process and the code that a span is about
HOST_NAME: Final = "host.name"
PROCESS_PID: Final = "process.pid"
ERROR_TYPE: Final = "error.type"
HW_ID: Final = "hw.id"
"""The UUIDs of the process's GPUs."""

# Ray's own keys (ray/util/tracing/tracing_helper.py)
RAY_JOB_ID: Final = "ray.job_id"
RAY_NODE_ID: Final = "ray.node_id"
RAY_ACTOR_ID: Final = "ray.actor_id"
RAY_WORKER_ID: Final = "ray.worker_id"
RAY_PID: Final = "ray.pid"
RAY_SUBMISSION_ID: Final = "ray.submission_id"

# Ours: whose span it is
RUN_ID: Final = "dsray.run.id"
RUN_NAME: Final = "dsray.run.name"
RUN_ATTEMPT_ID: Final = "dsray.run.attempt.id"
ROLE: Final = "dsray.process.role"
RANK_WORLD: Final = "dsray.rank.world"
STEP_GLOBAL: Final = "dsray.step.global"
STEP_MICRO: Final = "dsray.step.micro"
STEP_INFERRED: Final = "dsray.step.inferred"
"""True on a step that is told from the pattern of collectives: its number is not the engine's."""
SPAN_OPEN: Final = "dsray.span.open"
"""True on a span whose end nobody saw: the process was in it, or ended in it."""

# Ours: what happened in it
PHASE_NAME: Final = "dsray.phase.name"
COLLECTIVE_SYSTEM: Final = "dsray.collective.system.name"
"""nccl, gloo, mpi"""
COLLECTIVE_OPERATION: Final = "dsray.collective.operation.name"
COLLECTIVE_GROUP: Final = "dsray.collective.group.name"
COLLECTIVE_GROUP_SIZE: Final = "dsray.collective.group.size"
COLLECTIVE_SEQUENCE: Final = "dsray.collective.sequence.id"
COLLECTIVE_SIZE: Final = "dsray.collective.message.size"
"""Bytes of the input tensors."""
COLLECTIVE_DTYPE: Final = "dsray.collective.message.dtype"
COLLECTIVE_P2P: Final = "dsray.collective.p2p"
OBJECT_SIZE: Final = "dsray.object.size"
"""Bytes got from or put into Ray's object store."""
