"""`dsray-inspect dashboards`: files for Grafana and Prometheus, ready to be provisioned."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import msgspec

from dsray_inspect.agent.commands.options import common_options, take
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.dashboards.files import Place, everything
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
    place = Place(folder=folder.resolve(), **{name: given.pop(name) for name in names})
    options = take(given)
    check(place)
    texts = everything(place)
    changed = write(place.folder, texts, force=force)

    if options.as_json:
        said = {"schema_version": 1, "folder": str(place.folder), "files": sorted(texts)}
        sys.stdout.buffer.write(msgspec.json.encode({**said, "changed": sorted(changed)}) + b"\n")
        return ExitCode.OK

    for path in sorted(changed):
        click.echo(folder / path)

    if not options.quiet:
        click.echo(after(place, len(texts) - len(changed)), err=True)

    return ExitCode.OK


def check(place: Place) -> None:
    """Refuse what would make files that cannot be read."""
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


def after(place: Place, unchanged: int) -> str:
    """Return what to do with the files."""
    targets = place.folder / "prometheus" / "targets" / "dsray.json"
    lines = [f"{unchanged} files were already up to date."] if unchanged else []
    lines += [
        f"Next: dsray-inspect serve --wait --sd-file {targets}",
        f"      prometheus --config.file={place.folder / 'prometheus' / 'prometheus.yml'}",
        "      docs/commands/dashboards.md covers Grafana, Docker and Kubernetes.",
    ]
    return "\n".join(lines)
