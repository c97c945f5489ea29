"""The files of `dashboards DIR` with a real Prometheus, on a real job and on Ray's own metrics."""

from __future__ import annotations

from pathlib import Path

from tests.promql.conftest import needs_prometheus
from tests.promql.panels import filled, targets
from tests.promql.server import Prometheus, running
from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.test_serve import serving
from tests.receiver import receiving

pytestmark = needs_prometheus

ELSEWHERE = {
    # Needs a rank that waits in a collective.
    *("Collectives entered and not left", "Time in the oldest of them"),
    # Needs GPUs, and DCGM's exporter.
    *("Utilization by rank", "Memory by rank", "Utilization by rank, from Ray"),
    *("Utilization by rank, from DCGM", "XID errors by rank", "Temperature by rank"),
    "GPUs of the nodes",
    "GPUs of the ranks",
    # Needs dsray-inspect submit.
    "DeepSpeed initialization",
    # Nobody needs to read a node from outside while its ranks answer.
    "Nodes readable from outside",
}
"""Panels that a healthy job on CPUs may leave empty; the histories in tests/promql fill them."""


def empty_panels(server: Prometheus, run_id: str) -> list[str]:
    now = float(server.get("query", query="time()")["result"][1])
    return [
        f"{target.panel}: {target.expr}"
        for target in targets()
        if not server.at(filled(target.expr, interval="30s", run=run_id), now)
        and target.panel not in ELSEWHERE
    ]


def test_no_panel_is_empty_on_a_real_job(cluster: Cluster, tmp_path: Path) -> None:
    ray_targets = cluster.dir / "ray0" / "prom_metrics_service_discovery.json"
    folder = tmp_path / "monitoring"
    done = cluster.inspect("dashboards", str(folder), "--ray-targets", str(ray_targets))
    assert done.returncode == 0, done.stderr
    prometheus = folder / "prometheus"
    job = cluster.submit("--step-sleep-s", "0.1", "--workers", "2", submission_id="drawn")

    with (
        receiving() as collector,
        serving(
            *(cluster, prometheus / "targets", "drawn", "--wait"),
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url},
        ),
        running(tmp_path, prometheus / "prometheus.yml") as server,
    ):

        def runs() -> set[str]:
            # Not dsray_run_info: until the controller tells the run's id, the job's may stand for it.
            found = server.get("label/run_id/values", **{"match[]": "dsray_train_step"})
            return set(found)

        processes.wait_for("the run", runs, timeout=processes.START_LIMIT_S + 120)
        (run_id,) = runs()
        left: list[str] = []

        def drawn() -> bool:
            left[:] = empty_panels(server, run_id)
            return not left

        try:
            processes.wait_for("every panel", drawn, timeout=180, every=3)
        except AssertionError as error:
            raise AssertionError("\n".join(left)) from error

        rules = server.rules()
        assert {rule["health"] for rule in rules} == {"ok"}, rules
        assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []
        job.stop()
