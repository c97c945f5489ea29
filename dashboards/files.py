"""The files for Grafana and Prometheus, made from the shipped ones."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from dsray_inspect.agent.model import Record

_SHIPPED: Final = files("dsray_inspect.dashboards")
_RUNBOOKS: Final = "docs/runbooks/"
"""The runbooks' folder in this repository, as the rules name it."""
_RULES: Final = ("recording.yml", "alerts.yml")
_RULE_OBJECT: Final = """\
# Prometheus Operator: recording and alerting rules of dsray-inspect.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: dsray-inspect
  labels:
    release: prometheus
spec:
  groups:
"""
_CONFIG_MAPS: Final = """\
# Grafana's sidecar loads ConfigMaps with this label. Apply with --server-side: they are large.
"""
_CONFIG_MAP: Final = """\
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


class Locations(Record, frozen=True, kw_only=True):
    """The locations that the files refer to."""

    folder: Path
    prometheus_url: str
    ray_targets: str
    runbooks: str | None
    """URL of the folder with the runbooks; None keeps their paths in this repository."""


def _shipped(name: str) -> str:
    return _SHIPPED.joinpath(name).read_text(encoding="utf-8")


def _dashboards() -> dict[str, str]:
    """Return the JSON of each dashboard by file name."""
    found = sorted(file.name for file in _SHIPPED.joinpath("grafana").iterdir())
    return {name: _shipped(f"grafana/{name}") for name in found if name.endswith(".json")}


def _rules(locations: Locations) -> dict[str, str]:
    texts = {name: _shipped(f"prometheus/{name}") for name in _RULES}

    if locations.runbooks is not None:
        base = locations.runbooks.rstrip("/")
        texts = {
            name: text.replace(f"runbook_url: {_RUNBOOKS}", f"runbook_url: {base}/")
            for name, text in texts.items()
        }

    return texts


def all_files(locations: Locations) -> dict[str, str]:
    """Return the content of each file by its path below the folder."""
    words = {
        "prometheus_url": locations.prometheus_url,
        "grafana_dashboards": str(locations.folder / "grafana" / "dashboards"),
        "ray_targets": locations.ray_targets,
        "ray_folder": str(Path(locations.ray_targets).parent),
    }

    def filled(name: str) -> str:
        return Template(_shipped(f"provisioning/{name}")).substitute(words)

    boards, rules = _dashboards(), _rules(locations)
    return {
        "compose.yml": filled("compose.yml"),
        "grafana/provisioning/dashboards/dsray.yml": filled("providers.yml"),
        "grafana/provisioning/datasources/dsray.yml": filled("datasource.yml"),
        **{f"grafana/dashboards/{name}": text for name, text in boards.items()},
        "prometheus/prometheus.yml": filled("prometheus.yml"),
        **{f"prometheus/rules/{name}": text for name, text in rules.items()},
        "kubernetes/dashboards.yml": _config_maps(boards),
        "kubernetes/podmonitor.yml": _shipped("provisioning/podmonitor.yml"),
        "kubernetes/prometheusrule.yml": _rule_object(rules),
    }


def _rule_object(rules: dict[str, str]) -> str:
    """Return the rules as one object of the Prometheus Operator."""
    groups = (text.partition("\ngroups:\n")[2] for text in rules.values())
    return _RULE_OBJECT + "".join(_indented(text, 2) for text in groups)


def _config_maps(boards: dict[str, str]) -> str:
    return _CONFIG_MAPS + "".join(
        _CONFIG_MAP.format(name=name.removesuffix(".json")) + _indented(text, 4)
        for name, text in boards.items()
    )


def _indented(text: str, spaces: int) -> str:
    return "".join(
        " " * spaces + line if line.strip() else line for line in text.splitlines(keepends=True)
    )
