"""`dsray-inspect serve`: a run's metrics for Prometheus, its spans for OpenTelemetry, headless."""

from __future__ import annotations

from typing import Any, Final

import click

from dsray_inspect.agent.commands.options import common_options, take
from dsray_inspect.agent.errors import ExitCode, UsageError

LISTEN: Final = "127.0.0.1:9464"
EVERY_S: Final = 5.0


@click.command("serve", short_help="Expose JOB's metrics for Prometheus; headless.")
@click.argument("job", required=False)
@click.option(
    "--listen", metavar="HOST:PORT", default=LISTEN, show_default=True, help="Where to serve HTTP."
)
@click.option(
    "--token-file",
    metavar="FILE",
    help="Bearer token that requests must bring; a must where other machines can reach HOST.",
)
@click.option("--sd-file", metavar="FILE", help="Keep FILE for Prometheus's file_sd_configs.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(min=0.2),
    metavar="S",
    default=EVERY_S,
    show_default=True,
    help="Seconds from one look to the next.",
)
@click.option(
    "--otlp",
    is_flag=True,
    help="Send spans to the OpenTelemetry collector; also on when OTEL_EXPORTER_OTLP_ENDPOINT is set.",
)
@click.option("--wait", is_flag=True, help="Wait for JOB to come, and for its next run.")
@common_options
def command(job: str | None, **given: Any) -> ExitCode:
    """Look at JOB again and again: /metrics for Prometheus, and verdicts on stdout as they change.

    Ends with the job; with --wait it goes on to the next run of that name. Restarts of the
    worker group are followed either way.
    """
    options = take(given, limit_s=None)

    # Not at the top: `--help` of the whole program needs neither Prometheus nor OpenTelemetry.
    try:
        from dsray_inspect.agent.commands.serving import Plan, serve
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serve needs the package {error.name}, which is not installed here.",
            help_text="pip install 'dsray-inspect[export]'",
        ) from error

    return serve(Plan(job=job, **given), options)
