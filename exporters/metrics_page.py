"""Prints docs/metrics.md from the catalogue of metrics: `make metrics-page`."""

from __future__ import annotations

import sys

from dsray_inspect.exporters.metrics import CATALOGUE, Metric

_HEAD = """# Metrics

The metrics that [`dsray-inspect serve`](commands/serve.md) exposes on `/metrics`. `make metrics-page` generates this
page from `exporters/metrics.py`.

All values come from samples of the run, one every `--every` seconds; `dsray_look_timestamp_seconds` is the time of the
newest one. Metrics with `estimated` in their name accumulate over samples, so their resolution is the sampling
interval. Series of a rank disappear with the rank. Labels that change from one process to the next (pid, actor) exist
only on `_info` metrics; join them by `run_id` and `rank`:

```promql
dsray_train_step * on (run_id, rank) group_left (hostname, pid) dsray_rank_info
```

Join GPUs by UUID, with the DCGM exporter or with Ray's own metrics:

```promql
DCGM_FI_DEV_GPU_UTIL * on (UUID) group_left (run_id, rank) label_replace(dsray_rank_gpu_info, "UUID", "$1", "gpu_uuid", "(.+)")
ray_node_gpus_utilization * on (GpuUuid) group_left (run_id, rank) label_replace(dsray_rank_gpu_info, "GpuUuid", "$1", "gpu_uuid", "(.+)")
```

An idle rank, and a run without a new step:

```promql
time() - dsray_rank_last_moved_timestamp_seconds > 60
time() - max by (run_id) (dsray_train_last_step_timestamp_seconds) > 300
```
"""
_TITLES = {
    "run": "The run",
    "rank": "Ranks",
    "step": "Steps",
    "collective": "Collectives",
    "gpu": "GPUs",
    "start-up": "Start-up",
    "agent": "dsray-inspect itself",
}


def page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]

    for area, title in _TITLES.items():
        rows = [_row(metric) for metric in CATALOGUE if metric.area == area]
        parts.append(
            "\n".join(
                (f"## {title}\n", "| metric | type | labels |  |", "|---|---|---|---|", *rows)
            )
            + "\n"
        )

    return "\n".join(parts)


def _row(metric: Metric) -> str:
    labels = " ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |"


if __name__ == "__main__":
    sys.stdout.write(page())
