"""Metrics of other exporters that queries may use."""

from __future__ import annotations

from typing import Final

_PROMETHEUS: Final = frozenset(["up"])
_RAY: Final = frozenset(
    [
        "ray_node_cpu_utilization",
        "ray_node_gpus_utilization",
        "ray_node_mem_total",
        "ray_node_mem_used",
        "ray_object_store_memory",
    ]
)
"""Of Ray 2.60, which reports utilization in percent."""
_DCGM: Final = frozenset(["DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_XID_ERRORS"])
FOREIGN: Final = _PROMETHEUS | _RAY | _DCGM
