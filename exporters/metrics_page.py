"""docs/metrics.md, from the catalogue: `python -m dsray_inspect.exporters.metrics_page` prints it."""

from __future__ import annotations

import sys

from dsray_inspect.exporters.metrics import CATALOGUE, Metric

HEAD = """# Metrics

What [`dsray-inspect serve`](commands/serve.md) exposes on `/metrics`. This page is written by `make metrics-page`
from `exporters/metrics.py`.

Everything comes from looks at the run, one every `--every` seconds: `dsray_look_timestamp_seconds` says how old it
is. A name with `estimated` in it adds up what looks found, and is as fine as they are frequent. Series of ranks that
are gone are gone from the next scrape on. What changes from process to process (pid, actor) is a label of `_info`
metrics only; join by `run_id` and `rank`:

```promql
dsray_train_step * on (run_id, rank) group_left (hostname, pid) dsray_rank_info
```

GPUs join by UUID, with DCGM's exporter or with Ray's own metrics:

```promql
DCGM_FI_DEV_GPU_UTIL * on (UUID) group_left (run_id, rank) label_replace(dsray_rank_gpu_info, "UUID", "$1", "gpu_uuid", "(.+)")
ray_node_gpus_utilization * on (GpuUuid) group_left (run_id, rank) label_replace(dsray_rank_gpu_info, "GpuUuid", "$1", "gpu_uuid", "(.+)")
```

A rank that stands still, and a run that makes no step:

```promql
time() - dsray_rank_last_moved_timestamp_seconds > 60
time() - max by (run_id) (dsray_train_last_step_timestamp_seconds) > 300
```
"""
TITLES = {
    "run": "The run",
    "rank": "Ranks",
    "step": "Steps",
    "collective": "Collectives",
    "gpu": "GPUs",
    "start-up": "Start-up",
    "agent": "dsray-inspect itself",
}


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]

    for area, title in TITLES.items():
        rows = [row(metric) for metric in CATALOGUE if metric.area == area]
        parts.append(
            "\n".join(
                (f"## {title}\n", "| metric | type | labels |  |", "|---|---|---|---|", *rows)
            )
            + "\n"
        )

    return "\n".join(parts)


def row(metric: Metric) -> str:
    labels = " ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |"


if __name__ == "__main__":
    sys.stdout.write(page())
