"""One Prometheus for all tests here, with the histories of four runs in two clusters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promql import histories
from tests.promql.server import RECORDING, RULES, Prometheus, promtool, running

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="needs Prometheus (Debian: prometheus)",
)


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Everything that was scraped in an hour, recording rules included."""
    folder = tmp_path_factory.mktemp("prometheus")
    lines, data = folder / "history.om", folder / "data"
    lines.write_text("\n".join(histories.openmetrics()) + "\n")
    promtool("tsdb", "create-blocks-from", "openmetrics", "--quiet", str(lines), str(data))
    config = folder / "prometheus.yml"
    config.write_text(f"rule_files: [{RULES}/*.yml]\nglobal: {{evaluation_interval: 1h}}\n")
    record(folder, config)

    with running(folder, config) as server:
        yield server


def record(folder: Path, config: Path) -> None:
    """Fill in what the recording rules would have recorded; twice, as some build on others."""
    start, end = histories.BEGIN_S, histories.BEGIN_S + 3600

    for _ in range(2):
        with running(folder, config) as server:
            promtool(
                *("tsdb", "create-blocks-from", "rules", "--url", server.url),
                *("--start", str(start), "--end", str(end)),
                *("--eval-interval", f"{histories.EVERY_S}s"),
                *("--output-dir", str(folder / "data"), str(RECORDING)),
            )
