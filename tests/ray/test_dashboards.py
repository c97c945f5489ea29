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
    # Needs a rank that stands still in a collective.
    *("Collectives entered and not left", "In the oldest of them for"),
    # Needs GPUs, and DCGM's exporter.
    *("Utilisation by rank", "Memory by rank", "Utilisation by rank, as Ray has it"),
    *("Utilisation by rank, as DCGM has it", "XID errors by rank", "Temperature by rank"),
    "GPUs of the nodes",
    # Nobody needs to look at a node from outside while its ranks answer.
    "Nodes that could be looked at",
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
    (ray_targets,) = cluster.dir.glob("ray0/prom_metrics_service_discovery.json")
    folder = tmp_path / "monitoring"
    done = cluster.inspect("dashboards", str(folder), "--ray-targets", str(ray_targets))
    assert done.returncode == 0, done.stderr
    prometheus = folder / "prometheus"
    job = cluster.submit("--step-sleep-s", "0.1", "--workers", "2", submission_id="drawn")
    job.wait_until_step(1, 5)

    with (
        receiving() as collector,
        serving(
            *(cluster, prometheus / "targets", "drawn"),
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url},
        ),
        running(tmp_path, prometheus / "prometheus.yml") as server,
    ):

        def runs() -> set[str]:
            found = server.get("label/run_id/values", **{"match[]": "dsray_run_info"})
            return set(found)

        processes.wait_for("the run", runs, timeout=120)
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
        firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
        assert firing <= {"DsrayNodeUnseen"}
        job.stop()
