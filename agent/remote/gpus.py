"""What NVML says of this node's GPUs (sent by value; the binding is whichever the node has)."""

from __future__ import annotations

import importlib
from typing import Any

from dsray_inspect.agent.compat.ray import BUNDLED_PYNVML
from dsray_inspect.agent.remote.unavailable import unavailable

BINDINGS = ("pynvml", BUNDLED_PYNVML)


def read_gpus() -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return one dict per GPU and None, or an empty list and why NVML did not answer."""
    for name in BINDINGS:
        try:
            nvml = importlib.import_module(name)
        except ImportError:
            continue

        return _read_with(nvml)

    return [], unavailable(
        "not_installed", "no NVML binding on this node (pip install nvidia-ml-py)"
    )


def _read_with(nvml: Any) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return [], unavailable("failed", f"NVML does not answer: {error}")

    try:
        count = nvml.nvmlDeviceGetCount()
        return [_read_gpu(nvml, index) for index in range(count)], None
    except nvml.NVMLError as error:
        return [], unavailable("failed", f"NVML: {error}")
    finally:
        nvml.nvmlShutdown()


def _read_gpu(nvml: Any, index: int) -> dict[str, Any]:
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = _optional(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(device))
    rates = _optional(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(device))
    processes = _optional(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(device))
    return {
        "index": index,
        "uuid": _as_text(nvml.nvmlDeviceGetUUID(device)),
        "name": _as_text(nvml.nvmlDeviceGetName(device)),
        "utilization": rates.gpu / 100 if rates is not None else None,
        "memory_used_bytes": memory.used if memory is not None else None,
        "memory_total_bytes": memory.total if memory is not None else None,
        "pids": [process.pid for process in processes or ()],
    }


def _optional(nvml: Any, read: Any) -> Any:
    """Return what `read` gives, None where this device or driver does not support it."""
    try:
        return read()
    except nvml.NVMLError:
        return None


def _as_text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
