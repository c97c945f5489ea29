"""`dsray-inspect dashboards`: files for Grafana and Prometheus, ready to be provisioned."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from dsray_inspect.agent.commands._support.options import (
    common_options,
    options_of,
    print_message,
)
from dsray_inspect.agent.commands._support.output import TEXT, Printer
from dsray_inspect.agent.documents import DashboardsView
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.dashboards.files import Locations, all_files
from dsray_inspect.dashboards.writing import write

PROMETHEUS: Final = "http://127.0.0.1:9090"
RAY_TARGETS: Final = "/tmp/ray/prom_metrics_service_discovery.json"


@click.command("dashboards", short_help="Write Grafana and Prometheus files into DIR.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    *("--prometheus", "prometheus_url"),
    metavar="URL",
    default=PROMETHEUS,
    show_default=True,
    help="URL at which Grafana reaches Prometheus.",
)
@click.option(
    "--ray-targets",
    metavar="FILE",
    default=RAY_TARGETS,
    show_default=True,
    help="Ray's service discovery file for Prometheus.",
)
@click.option(
    "--runbooks", metavar="URL", help="URL of your copy of docs/runbooks, linked from the alerts."
)
@click.option(
    "--force", is_flag=True, help="Overwrite files that were edited or not written by this command."
)
@common_options
def command(folder: Path, force: bool, **given: Any) -> ExitCode:
    """Write dashboards, alert rules and configuration for Grafana and Prometheus into DIR.

    Needs no cluster. Running it again updates only the files it wrote before.
    """
    names = ("prometheus_url", "ray_targets", "runbooks")
    place = Locations(folder=folder.resolve(), **{name: given.pop(name) for name in names})
    options = options_of(given)
    printer = Printer(DashboardsView, options)
    _check(place)
    texts = all_files(place)
    changed = write(place.folder, texts, force=force)
    printer.print(
        DashboardsView(
            folder=folder,
            root=place.folder,
            files=tuple(sorted(texts)),
            changed=tuple(sorted(changed)),
        )
    )

    if printer.format == TEXT:
        print_message(options, _next_steps(place, len(texts) - len(changed)))

    return ExitCode.OK


def _check(place: Locations) -> None:
    """Reject options that would produce files Grafana or Prometheus cannot read."""
    if urlsplit(place.prometheus_url).scheme not in ("http", "https"):
        raise UsageError(
            f"--prometheus {place.prometheus_url} is not a URL.",
            help_text=f"For example, --prometheus {PROMETHEUS}",
        )

    if place.runbooks is not None and urlsplit(place.runbooks).scheme not in ("http", "https"):
        raise UsageError(
            f"--runbooks {place.runbooks} is not a URL.",
            help_text="Give the http(s) URL of your copy of docs/runbooks.",
        )

    if not place.ray_targets.startswith("/") or not place.ray_targets.endswith(".json"):
        raise UsageError(
            f"--ray-targets {place.ray_targets} is not the absolute path of a .json file.",
            help_text=f"For example, --ray-targets {RAY_TARGETS}",
        )


def _next_steps(place: Locations, unchanged: int) -> str:
    targets = place.folder / "prometheus" / "targets" / "dsray.json"
    lines = [f"{unchanged} files were already up to date."] if unchanged else []
    lines += [
        f"Next: dsray-inspect serve --wait --sd-file {targets}",
        f"      prometheus --config.file={place.folder / 'prometheus' / 'prometheus.yml'}",
        "      docs/commands/dashboards.md covers Grafana, Docker and Kubernetes.",
    ]
    return "\n".join(lines)
