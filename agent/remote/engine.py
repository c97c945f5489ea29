"""Describe the live DeepSpeed engine of this process (stdlib only, sent by value).

Only attributes are read. Nothing here may call a collective or synchronise a device: a
`safe_get_full_*` would deadlock the job.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

from dsray_inspect.agent.compat.deepspeed import (
    FULL_SIZE,
    OFFLOADS,
)
from dsray_inspect.agent.compat.torch import C10D_MODULE
from dsray_inspect.agent.remote.gil import yield_gil
from dsray_inspect.agent.remote.redaction import flatten_config, known_secrets

_MAX_TENSORS = 20_000


def describe(engine: Any) -> dict[str, Any]:
    """Return what the engine is, as plain values."""
    deepspeed = sys.modules["deepspeed"]
    config = _effective_config(engine)
    yield_gil()
    lines = "\n".join(f"{key}={value}" for key, value in sorted(config.items()))
    return {
        "version": str(getattr(deepspeed, "__version__", "unknown")),
        "zero_stage": int(engine.zero_optimization_stage()),
        "dtype": _dtype_of(engine),
        "micro_batch_size": int(engine.train_micro_batch_size_per_gpu()),
        "gradient_accumulation_steps": int(engine.gradient_accumulation_steps()),
        "train_batch_size": _attempt(lambda: int(engine.train_batch_size())),
        "offload": _offload_of(engine),
        "optimizer": _optimizer_of(engine),
        "parameters": _parameters_of(engine),
        "process_groups": _process_groups(),
        "config_digest": hashlib.sha256(lines.encode()).hexdigest()[:16],
        "config": config,
    }


def _attempt(read: Any) -> Any:
    """Return what `read` gives, None where this DeepSpeed has no such thing."""
    try:
        return read()
    except Exception:
        return None


def _dtype_of(engine: Any) -> str:
    found = _attempt(lambda: engine.get_data_types()[0])
    return str(found).rpartition(".")[2] if found is not None else "unknown"


def _offload_of(engine: Any) -> str | None:
    """Return "optimizer:cpu", "optimizer:cpu parameters:nvme" and the like, None without."""
    zero = getattr(engine._config, "zero_config", None)
    parts = []

    for label, name in OFFLOADS:
        device = getattr(getattr(zero, name, None), "device", None)
        device = getattr(device, "value", device)

        if device not in (None, "none"):
            parts.append(f"{label}:{device}")

    return " ".join(parts) or None


def _optimizer_of(engine: Any) -> str | None:
    names = []

    for attribute in ("basic_optimizer", "optimizer"):
        found = getattr(engine, attribute, None)
        name = type(found).__name__ if found is not None else None

        if name and name not in names:
            names.append(name)

    return " in ".join(names) or None


def _parameters_of(engine: Any) -> int | None:
    """Return the number of parameters before ZeRO-3 partitioned them."""
    total = 0

    for number, parameter in enumerate(engine.module.parameters()):
        if number >= _MAX_TENSORS:
            return None

        count = getattr(parameter, FULL_SIZE, None)
        total += int(count if count is not None else parameter.numel())

    return total


def _process_groups() -> list[str]:
    """Return one line a process group: name, backend, ranks and what it is for."""
    module = sys.modules.get(C10D_MODULE)
    world = getattr(module, "_world", None)
    lines = []

    for group, name in list(getattr(world, "pg_names", {}).items()):
        ranks = sorted(getattr(world, "pg_group_ranks", {}).get(group, {}))
        backend = str((getattr(world, "pg_map", {}).get(group) or ("unknown",))[0])
        purpose = _attempt(lambda group=group: group.group_desc) or ""
        span = f"{ranks[0]}-{ranks[-1]}" if ranks else "unknown"
        contiguous = ranks == list(range(ranks[0], ranks[-1] + 1)) if ranks else True
        shown = span if contiguous else ",".join(map(str, ranks[:16]))
        lines.append(f"{name} {backend} ranks {shown} {purpose}".strip())

    return lines


def _effective_config(engine: Any) -> dict[str, str]:
    """Return the config as DeepSpeed resolved it, flattened to dotted keys."""
    config = engine._config
    merged: dict[str, Any] = dict(_attempt(lambda: engine.config) or {})
    zero: Any = getattr(config, "zero_config", None)
    resolved = _attempt(lambda: zero.model_dump(mode="json")) or _attempt(lambda: zero.dict())

    if isinstance(resolved, dict):
        merged["zero_optimization"] = resolved

    for name in (
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
        "gradient_accumulation_steps",
        "gradient_clipping",
        "world_size",
    ):
        value = getattr(config, name, None)

        if value is not None:
            merged[name] = value

    known = known_secrets(os.environ)
    yield_gil()
    flat: dict[str, str] = {}

    for name in sorted(merged, key=str):
        yield_gil()
        flat.update(flatten_config({name: merged[name]}, known=known))

    return flat
