"""Find and describe the live DeepSpeed engine of this process (stdlib only, sent by value).

Only attributes are read. Nothing here may call a collective, synchronise a device, or keep
a reference: a `safe_get_full_*` would deadlock the job, a kept frame would pin its tensors.
"""

from __future__ import annotations

import gc
import hashlib
import sys
import time
from types import CodeType
from typing import Any

from dsray_inspect.agent.onsite.redaction import flatten_config
from dsray_inspect.agent.onsite.threads import walk

MAX_TENSORS = 20_000
SCAN_NS_PER_BLOCK = 30
"""What `gc.get_referrers` costs per allocated block: 45 ms at 1,900,000 blocks, with a margin."""
LOOKS = 6
NOT_RETURNED = "deepspeed.initialize has not returned yet"
LOOK_EVERY_S = 0.003


def find_engine(may_scan_ms: float) -> tuple[Any, str]:
    """Return the DeepSpeed engine, or None and why.

    An engine whose method is on some thread's stack costs nothing to find. Otherwise all
    objects are asked who refers to the class, once, if that is estimated to take at most
    `may_scan_ms`: the scan holds the GIL.
    """
    module = sys.modules.get("deepspeed.runtime.engine")

    if module is None:
        return None, "DeepSpeed is not imported in this process"

    for look in range(LOOKS):
        if initialize_on_stack():
            return None, NOT_RETURNED

        engine = engine_on_stack(module.DeepSpeedEngine)

        if engine is not None:
            return engine, "ok"

        if look < LOOKS - 1:
            time.sleep(LOOK_EVERY_S)

    cost_ms = sys.getallocatedblocks() * SCAN_NS_PER_BLOCK / 1e6

    if cost_ms > may_scan_ms:
        return None, (
            f"no engine method is on the stack, and a search would stop the rank for about "
            f"{cost_ms:.0f} ms (allowed: {may_scan_ms:.0f} ms, --max-pause)"
        )

    return engine_by_scan(module.DeepSpeedEngine)


def engine_on_stack(engine_class: type) -> Any:
    """Return `self` of a running engine method.

    Only frames of DeepSpeed's own engine module are opened: reading the locals of a frame
    keeps them alive until it returns, which is soon there, and never in a user's loop.
    """
    for frame in sys._current_frames().values():
        for inner in walk(frame):
            if is_engine_method(inner.f_code):
                candidate = inner.f_locals.get("self")

                if is_finished(candidate, engine_class):
                    return candidate

    return None


def is_finished(candidate: Any, engine_class: type) -> bool:
    """Return whether this is an engine whose constructor has come to its end."""
    return isinstance(candidate, engine_class) and hasattr(candidate, "optimizer")


def initialize_on_stack() -> bool:
    return any(
        inner.f_code.co_name == "initialize"
        and inner.f_code.co_filename.endswith("deepspeed/__init__.py")
        for frame in sys._current_frames().values()
        for inner in walk(frame)
    )


def is_engine_method(code: CodeType) -> bool:
    own = code.co_filename.endswith(("/runtime/engine.py", "/runtime/pipe/engine.py"))
    return own and "deepspeed" in code.co_filename and code.co_varnames[:1] == ("self",)


def engine_by_scan(engine_class: type) -> tuple[Any, str]:
    """Return the newest finished engine that refers to the class or a subclass of it."""
    classes: list[type] = [engine_class]

    for found in classes:
        classes.extend(found.__subclasses__())

    candidates = [
        candidate
        for candidate in gc.get_referrers(*classes)
        if is_finished(candidate, engine_class)
    ]

    if not candidates:
        return None, NOT_RETURNED

    return candidates[-1], "ok"


def describe(engine: Any) -> dict[str, Any]:
    """Return what the engine is, as plain values."""
    deepspeed = sys.modules["deepspeed"]
    config = effective_config(engine)
    lines = "\n".join(f"{key}={value}" for key, value in sorted(config.items()))
    return {
        "version": str(getattr(deepspeed, "__version__", "unknown")),
        "zero_stage": int(engine.zero_optimization_stage()),
        "dtype": dtype_of(engine),
        "micro_batch_size": int(engine.train_micro_batch_size_per_gpu()),
        "gradient_accumulation_steps": int(engine.gradient_accumulation_steps()),
        "train_batch_size": attempt(lambda: int(engine.train_batch_size())),
        "offload": offload_of(engine),
        "optimizer": optimizer_of(engine),
        "parameters": parameters_of(engine),
        "process_groups": process_groups(),
        "config_digest": hashlib.sha256(lines.encode()).hexdigest()[:16],
        "config": config,
    }


def attempt(read: Any) -> Any:
    """Return what `read` gives, None where this DeepSpeed has no such thing."""
    try:
        return read()
    except Exception:
        return None


def dtype_of(engine: Any) -> str:
    found = attempt(lambda: engine.get_data_types()[0])
    return str(found).rpartition(".")[2] if found is not None else "unknown"


def offload_of(engine: Any) -> str | None:
    """Return "optimizer:cpu", "optimizer:cpu parameters:nvme" and the like, None without."""
    zero = getattr(engine._config, "zero_config", None)
    parts = []

    for label, name in (("optimizer", "offload_optimizer"), ("parameters", "offload_param")):
        device = getattr(getattr(zero, name, None), "device", None)
        device = getattr(device, "value", device)

        if device not in (None, "none"):
            parts.append(f"{label}:{device}")

    return " ".join(parts) or None


def optimizer_of(engine: Any) -> str | None:
    names = []

    for attribute in ("basic_optimizer", "optimizer"):
        found = getattr(engine, attribute, None)
        name = type(found).__name__ if found is not None else None

        if name and name not in names:
            names.append(name)

    return " in ".join(names) or None


def parameters_of(engine: Any) -> int | None:
    """Return the number of parameters before ZeRO-3 partitioned them."""
    total = 0

    for number, parameter in enumerate(engine.module.parameters()):
        if number >= MAX_TENSORS:
            return None

        count = getattr(parameter, "ds_numel", None)
        total += int(count if count is not None else parameter.numel())

    return total


def process_groups() -> list[str]:
    """Return one line a process group: name, backend, ranks and what it is for."""
    module = sys.modules.get("torch.distributed.distributed_c10d")
    world = getattr(module, "_world", None)
    lines = []

    for group, name in list(getattr(world, "pg_names", {}).items()):
        ranks = sorted(getattr(world, "pg_group_ranks", {}).get(group, {}))
        backend = str((getattr(world, "pg_map", {}).get(group) or ("unknown",))[0])
        purpose = attempt(lambda group=group: group.group_desc) or ""
        span = f"{ranks[0]}-{ranks[-1]}" if ranks else "unknown"
        contiguous = ranks == list(range(ranks[0], ranks[-1] + 1)) if ranks else True
        shown = span if contiguous else ",".join(map(str, ranks[:16]))
        lines.append(f"{name} {backend} ranks {shown} {purpose}".strip())

    return lines


def effective_config(engine: Any) -> dict[str, str]:
    """Return the config as DeepSpeed resolved it, flattened to dotted keys."""
    config = engine._config
    merged: dict[str, Any] = dict(attempt(lambda: engine.config) or {})
    zero: Any = getattr(config, "zero_config", None)
    resolved = attempt(lambda: zero.model_dump(mode="json")) or attempt(lambda: zero.dict())

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

    return flatten_config(merged)
