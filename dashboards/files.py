"""The files that Grafana and Prometheus want, made of those which are shipped here."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from dsray_inspect.agent.model import Record

SHIPPED: Final = files("dsray_inspect.dashboards")
RUNBOOKS: Final = "docs/runbooks/"
"""What the rules call the runbooks by: their folder in this repository."""
RULES: Final = ("recording.yml", "alerts.yml")
RULE_OBJECT: Final = """\
# Prometheus Operator: our recording and alert rules.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: dsray-inspect
  labels:
    release: prometheus
spec:
  groups:
"""
CONFIG_MAPS: Final = """\
# Grafana's sidecar takes ConfigMaps with this label; apply with --server-side, they are long.
"""
CONFIG_MAP: Final = """\
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
  labels:
    grafana_dashboard: "1"
data:
  {name}.json: |
"""


class Place(Record, frozen=True, kw_only=True):
    """Where things are that the files name."""

    folder: Path
    prometheus_url: str
    ray_targets: str
    runbooks: str | None
    """URL of the folder with the runbooks; None leaves their paths in this repository."""


def shipped(name: str) -> str:
    return SHIPPED.joinpath(name).read_text(encoding="utf-8")


def dashboards() -> dict[str, str]:
    """Return each dashboard's JSON by its file's name."""
    found = sorted(one.name for one in SHIPPED.joinpath("grafana").iterdir())
    return {name: shipped(f"grafana/{name}") for name in found if name.endswith(".json")}


def rules(place: Place) -> dict[str, str]:
    texts = {name: shipped(f"prometheus/{name}") for name in RULES}

    if place.runbooks is not None:
        base = place.runbooks.rstrip("/")
        texts = {
            name: text.replace(f"runbook_url: {RUNBOOKS}", f"runbook_url: {base}/")
            for name, text in texts.items()
        }

    return texts


def everything(place: Place) -> dict[str, str]:
    """Return every file's content by its path below the folder."""
    words = {
        "prometheus_url": place.prometheus_url,
        "grafana_dashboards": str(place.folder / "grafana" / "dashboards"),
        "ray_targets": place.ray_targets,
        "ray_folder": str(Path(place.ray_targets).parent),
    }

    def filled(name: str) -> str:
        return Template(shipped(f"provisioning/{name}")).substitute(words)

    drawn, ruled = dashboards(), rules(place)
    return {
        "compose.yml": filled("compose.yml"),
        "grafana/provisioning/dashboards/dsray.yml": filled("providers.yml"),
        "grafana/provisioning/datasources/dsray.yml": filled("datasource.yml"),
        **{f"grafana/dashboards/{name}": text for name, text in drawn.items()},
        "prometheus/prometheus.yml": filled("prometheus.yml"),
        **{f"prometheus/rules/{name}": text for name, text in ruled.items()},
        "kubernetes/dashboards.yml": config_maps(drawn),
        "kubernetes/podmonitor.yml": shipped("provisioning/podmonitor.yml"),
        "kubernetes/prometheusrule.yml": rule_object(ruled),
    }


def rule_object(ruled: dict[str, str]) -> str:
    """Return the rules as one object of the operator's."""
    groups = (text.partition("\ngroups:\n")[2] for text in ruled.values())
    return RULE_OBJECT + "".join(indented(text, 2) for text in groups)


def config_maps(drawn: dict[str, str]) -> str:
    return CONFIG_MAPS + "".join(
        CONFIG_MAP.format(name=name.removesuffix(".json")) + indented(text, 4)
        for name, text in drawn.items()
    )


def indented(text: str, spaces: int) -> str:
    return "".join(
        " " * spaces + line if line.strip() else line for line in text.splitlines(keepends=True)
    )
