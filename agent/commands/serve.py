"""`dsray-inspect serve`: a run's metrics for Prometheus, its spans for OpenTelemetry, headless."""

from __future__ import annotations

from typing import Any, Final

import click

from dsray_inspect.agent.commands._support.options import common_options, options_of
from dsray_inspect.agent.errors import ExitCode, UsageError

_LISTEN: Final = "127.0.0.1:9464"
EVERY_S: Final = 5.0


@click.command("serve", short_help="Serve JOB's metrics to Prometheus.")
@click.argument("job", required=False)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=_LISTEN,
    show_default=True,
    help="Address to serve HTTP on.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="File with the bearer token clients must send; required unless HOST is loopback.",
)
@click.option("--sd-file", metavar="FILE", help="Maintain FILE for Prometheus's file_sd_configs.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.2),
    metavar="S",
    default=EVERY_S,
    show_default=True,
    help="Seconds between samples.",
)
@click.option(
    "--otlp",
    is_flag=True,
    help="Also send spans to an OpenTelemetry collector; implied by OTEL_EXPORTER_OTLP_ENDPOINT.",
)
@click.option("--wait", is_flag=True, help="Wait for JOB to start, and then for its next runs.")
@common_options
def command(job: str | None, **given: Any) -> ExitCode:
    """Sample JOB continuously: serve /metrics to Prometheus, and print the verdict when it changes.

    Exits when the job ends; with --wait, it waits for the next run of that name instead. It
    follows restarts of the worker group either way.
    """
    options = options_of(given, limit_s=None)

    # Not at the top: `dsray-inspect --help` must not need Prometheus or OpenTelemetry.
    try:
        from dsray_inspect.agent.commands._support.serving import ServePlan, serve
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serve needs the package {error.name}, which is not installed.",
            help_text="pip install 'dsray-inspect[export]'",
        ) from error

    return serve(ServePlan(job=job, **given), options)
