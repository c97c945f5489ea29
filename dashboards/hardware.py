"""The dashboard of GPUs and nodes: metrics of the ranks joined by UUID with Ray's and DCGM's."""

from __future__ import annotations

from dsray_inspect.dashboards.model import Board, Row, panel, query
from dsray_inspect.dashboards.queries import (
    BY_RANK,
    CLUSTER,
    CLUSTERS,
    NODE,
    NODES,
    RANK,
    RANKS,
    RUNS,
)

_NO_GPU = "no GPU, or it could not be read"
_NO_DCGM = "no DCGM exporter is scraped"

_ALIVE = Row(
    question="Are the nodes up?",
    panels=(
        panel(
            "timeline",
            "Nodes alive according to Ray",
            "The nodes on which the run has processes.",
            query(f"max by (ray_io_cluster, node) (dsray_node_alive{{{NODE}}})", "{{node}}"),
            unit="none",
            names={"0": "lost|red", "1": "alive|green"},
        ),
        panel(
            "timeline",
            "Nodes readable from outside",
            "Whether the processes of a node could be read from outside. Missing if it was not needed.",
            query(f"max by (ray_io_cluster, node) (dsray_agent_up{{{NODE}}})", "{{node}}"),
            unit="none",
            names={"0": "failed|red", "1": "up|green"},
            no_value="not needed so far",
        ),
        panel(
            *("timeseries", "CPU", "Of each node, from Ray's own metrics."),
            query(f"max by (ip) (ray_node_cpu_utilization{{{CLUSTER}}}) / 100", "{{ip}}"),
            unit="percentunit",
            maximum=1.0,
        ),
        panel(
            *("timeseries", "Memory", "Share in use on each node, from Ray's own metrics."),
            query(
                f"max by (ip) (ray_node_mem_used{{{CLUSTER}}}) / max by (ip) (ray_node_mem_total{{{CLUSTER}}})",
                "{{ip}}",
            ),
            unit="percentunit",
            maximum=1.0,
        ),
    ),
)
_BUSY = Row(
    question="Are the ranks' GPUs busy?",
    panels=(
        panel(
            "timeseries",
            "Utilization by rank",
            "Share of time in which kernels ran, from NVML. A GPU that waits in an NCCL collective counts as busy.",
            query(f"dsray:rank_gpu_utilization:ratio{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"),
            unit="percentunit",
            maximum=1.0,
            no_value=_NO_GPU,
        ),
        panel(
            "timeseries",
            "Memory by rank",
            "Share of the memory of each rank's GPUs in use by all processes.",
            query(f"dsray:rank_gpu_memory_used:ratio{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"),
            unit="percentunit",
            maximum=1.0,
            no_value=_NO_GPU,
        ),
        panel(
            "timeseries",
            "Utilization by rank, from Ray",
            "Ray's own GPU metrics, joined with the ranks by GPU UUID.",
            query(
                f"dsray:rank_ray_gpu_utilization:ratio{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"
            ),
            unit="percentunit",
            maximum=1.0,
            no_value=_NO_GPU,
        ),
        panel(
            "timeseries",
            "Utilization by rank, from DCGM",
            "NVIDIA's DCGM exporter, joined with the ranks by GPU UUID.",
            query(
                f"dsray:rank_dcgm_gpu_utilization:ratio{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"
            ),
            unit="percentunit",
            maximum=1.0,
            no_value=_NO_DCGM,
        ),
    ),
)
_FAULTS = Row(
    question="Is a GPU at fault?",
    panels=(
        panel(
            "timeseries",
            "XID errors by rank",
            "The latest XID reported by the driver, from DCGM. If it is not 0, check the node's kernel log.",
            query(f"dsray:rank_dcgm_xid_errors:last{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"),
            unit="none",
            no_value=_NO_DCGM,
        ),
        panel(
            *("timeseries", "Temperature by rank", "From DCGM; a hot GPU lowers its clock rate."),
            query(
                f"dsray:rank_dcgm_gpu_temperature:celsius{{{RANK}}}",
                "rank {{rank}} GPU {{gpu_slot}}",
            ),
            unit="celsius",
            no_value=_NO_DCGM,
        ),
    ),
)
_PLACEMENT = Row(
    question="Which GPU does a rank use, and how much memory?",
    panels=(
        panel(
            *("timeseries", "Resident memory by rank", "Of each rank's process."),
            query(
                f"max by ({BY_RANK}) (dsray_rank_resident_memory_bytes{{{RANK}}})", "rank {{rank}}"
            ),
            unit="bytes",
        ),
        panel(
            *("table", "GPUs of the ranks", "Ray's slot and the device's UUID of each rank."),
            query(f"max by (rank, gpu_slot, gpu_uuid) (dsray_rank_gpu_info{{{RANK}}})"),
            unit="none",
            no_value=_NO_GPU,
        ),
        panel(
            *("table", "GPUs of the nodes", "Every GPU with its memory in bytes."),
            query(
                f"max by (ray_io_cluster, gpu_uuid) (dsray_gpu_memory_limit_bytes{{{CLUSTER}}}) "
                "* on (ray_io_cluster, gpu_uuid) group_left (node, gpu_index, gpu_name) "
                f"max by (ray_io_cluster, gpu_uuid, node, gpu_index, gpu_name) (dsray_gpu_info{{{NODE}}})"
            ),
            unit="bytes",
            width=24,
            no_value=_NO_GPU,
        ),
    ),
)
BOARD = Board(
    uid="dsray-hardware",
    title="dsray-inspect / GPUs and nodes",
    description="Are the nodes up, are the ranks' GPUs busy, is one at fault, and which rank uses which?",
    variables=(CLUSTERS, RUNS, RANKS, NODES),
    rows=(_ALIVE, _BUSY, _FAULTS, _PLACEMENT),
)
