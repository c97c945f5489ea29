"""Where DeepSpeed spends a step: the functions that are probed (stdlib only).

Each is looked for, and said to be missing where it is not.
Subclasses with a function of their own are probed as well: a call of `super()` in there is seen
twice, one in the other, and the session takes them for one.
"""

from __future__ import annotations

from dsray_inspect.agent.compat.deepspeed import (
    ALLREDUCE_GRADIENTS,
    AVERAGE_TENSOR,
    BACKWARD_EPILOGUE,
    BACKWARD_PROLOGUE,
    ENGINE_BACKWARD,
    EVAL_BATCH,
    FETCH_PARAMETERS,
    FORWARD,
    IN_BACKWARD,
    LOAD_CHECKPOINT,
    PARTITION_GRADS,
    PIPELINE_CLASS,
    REDUCE_AND_PARTITION,
    RELEASE_PARAMETERS,
    SAVE_CHECKPOINT,
    STEP,
    TAKE_STEP,
    TRAIN_BATCH,
)
from dsray_inspect.agent.compat.rows import Method
from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.targets import Target


def _of_engine(
    method: Method,
    code: int,
    *,
    advances: bool = False,
    on_device: bool = False,
    part_of: str | None = None,
) -> Target:
    return Target(
        *method,
        code,
        of_engine=True,
        advances=advances,
        on_device=on_device,
        subclasses=True,
        part_of=part_of,
    )


def _of_pipeline(
    method: Method, code: int, *, advances: bool = False, inherited: bool = False
) -> Target:
    return Target(
        *method,
        code,
        of_engine=True,
        advances=advances,
        subclasses=True,
        inherited=inherited,
    )


TARGETS = (
    _of_engine(FORWARD, wire.FORWARD, on_device=True),
    _of_engine(ENGINE_BACKWARD, wire.BACKWARD, on_device=True),
    _of_engine(BACKWARD_PROLOGUE, wire.BACKWARD_PROLOGUE, part_of=IN_BACKWARD),
    _of_engine(BACKWARD_EPILOGUE, wire.BACKWARD_EPILOGUE, part_of=IN_BACKWARD),
    _of_engine(ALLREDUCE_GRADIENTS, wire.GRAD_REDUCE),
    _of_engine(STEP, wire.STEP, advances=True, on_device=True),
    _of_engine(SAVE_CHECKPOINT, wire.SAVE_CHECKPOINT),
    _of_engine(LOAD_CHECKPOINT, wire.LOAD_CHECKPOINT),
    _of_pipeline(TRAIN_BATCH, wire.TRAIN_BATCH, advances=True),
    _of_pipeline(EVAL_BATCH, wire.EVAL_BATCH),
    # Its `train_batch` steps by this alone; any other engine's `step` is around it.
    _of_pipeline((*PIPELINE_CLASS, TAKE_STEP[2]), wire.STEP, advances=True, inherited=True),
    Target(*AVERAGE_TENSOR, wire.GRAD_REDUCE),
    Target(*REDUCE_AND_PARTITION, wire.GRAD_REDUCE),
    Target(*PARTITION_GRADS, wire.ZERO_PARTITION),
    Target(*FETCH_PARAMETERS, wire.ZERO_GATHER),
    Target(*RELEASE_PARAMETERS, wire.ZERO_PARTITION),
)
