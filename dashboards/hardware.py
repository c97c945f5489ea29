"""The dashboard of GPUs and nodes: ours joined by UUID with Ray's and DCGM's."""

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

NO_GPU = "no GPU, or nobody could read it"
NO_DCGM = "no DCGM exporter is scraped"

ALIVE = Row(
    question="Are the nodes there?",
    panels=(
        panel(
            "timeline",
            "Nodes that Ray takes for alive",
            "Of the nodes that hold a part of the run.",
            query(f"max by (ray_io_cluster, node) (dsray_node_alive{{{NODE}}})", "{{node}}"),
            unit="none",
            names={"0": "lost|red", "1": "alive|green"},
        ),
        panel(
            "timeline",
            "Nodes that could be looked at",
            "Whether a node's processes could be looked at from outside. Missing where nobody needed to.",
            query(f"max by (ray_io_cluster, node) (dsray_agent_up{{{NODE}}})", "{{node}}"),
            unit="none",
            names={"0": "failed|red", "1": "up|green"},
            no_value="nobody needed to",
        ),
        panel(
            *("timeseries", "CPU", "Of each node, as Ray's own metrics tell it."),
            query(f"max by (ip) (ray_node_cpu_utilization{{{CLUSTER}}}) / 100", "{{ip}}"),
            unit="percentunit",
            maximum=1.0,
        ),
        panel(
            *("timeseries", "Memory", "Share in use of each node, as Ray's own metrics tell it."),
            query(
                f"max by (ip) (ray_node_mem_used{{{CLUSTER}}}) / max by (ip) (ray_node_mem_total{{{CLUSTER}}})",
                "{{ip}}",
            ),
            unit="percentunit",
            maximum=1.0,
        ),
    ),
)
WORK = Row(
    question="Do the GPUs of the ranks work?",
    panels=(
        panel(
            "timeseries",
            "Utilisation by rank",
            "Share of time that kernels ran, as NVML reads it. A GPU that waits in an NCCL collective counts as busy.",
            query(f"dsray:rank_gpu_utilization:ratio{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"),
            unit="percentunit",
            maximum=1.0,
            no_value=NO_GPU,
        ),
        panel(
            "timeseries",
            "Memory by rank",
            "Share in use of each rank's GPUs, by all processes.",
            query(f"dsray:rank_gpu_memory_used:ratio{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"),
            unit="percentunit",
            maximum=1.0,
            no_value=NO_GPU,
        ),
        panel(
            "timeseries",
            "Utilisation by rank, as Ray has it",
            "Ray's own GPU metrics, joined with our ranks by the GPU's UUID.",
            query(
                f"dsray:rank_ray_gpu_utilization:ratio{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"
            ),
            unit="percentunit",
            maximum=1.0,
            no_value=NO_GPU,
        ),
        panel(
            "timeseries",
            "Utilisation by rank, as DCGM has it",
            "NVIDIA's DCGM exporter, joined with our ranks by the GPU's UUID.",
            query(
                f"dsray:rank_dcgm_gpu_utilization:ratio{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"
            ),
            unit="percentunit",
            maximum=1.0,
            no_value=NO_DCGM,
        ),
    ),
)
FAULTS = Row(
    question="Is a GPU at fault?",
    panels=(
        panel(
            "timeseries",
            "XID errors by rank",
            "The newest XID that the driver reported, by DCGM. Anything but 0 is worth a look into the node's kernel "
            "log.",
            query(f"dsray:rank_dcgm_xid_errors:last{{{RANK}}}", "rank {{rank}} GPU {{gpu_slot}}"),
            unit="none",
            no_value=NO_DCGM,
        ),
        panel(
            *("timeseries", "Temperature by rank", "By DCGM; a hot GPU slows its clocks down."),
            query(
                f"dsray:rank_dcgm_gpu_temperature:celsius{{{RANK}}}",
                "rank {{rank}} GPU {{gpu_slot}}",
            ),
            unit="celsius",
            no_value=NO_DCGM,
        ),
    ),
)
WHERE = Row(
    question="Which GPU and how much memory has a rank?",
    panels=(
        panel(
            *("timeseries", "Resident memory by rank", "Of each rank's process on its node."),
            query(
                f"max by ({BY_RANK}) (dsray_rank_resident_memory_bytes{{{RANK}}})", "rank {{rank}}"
            ),
            unit="bytes",
        ),
        panel(
            *("table", "GPUs of the ranks", "Ray's slot and the device's UUID of each rank."),
            query(f"max by (rank, gpu_slot, gpu_uuid) (dsray_rank_gpu_info{{{RANK}}})"),
            unit="none",
            no_value=NO_GPU,
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
            no_value=NO_GPU,
        ),
    ),
)
BOARD = Board(
    uid="dsray-hardware",
    title="dsray-inspect / GPUs and nodes",
    description="Are the nodes there, do the ranks' GPUs work, is one at fault, and which is whose?",
    variables=(CLUSTERS, RUNS, RANKS, NODES),
    rows=(ALIVE, WORK, FAULTS, WHERE),
)
