"""The network interface that a library looked for in vain, and the variable that names it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.model import EnvSource, EnvVar, Record

MISSING_INTERFACE = re.compile(
    r"Unable to find address for: (?P<name>\S+)|[Nn]o (?:socket )?interface found"
    r"|[Nn]o such (?:network )?interface|ifa != nullptr"
)
NAMES_INTERFACE = re.compile(r"IFNAME|NET_DEVICES|SOCKET_NAME")
"""Variables of gloo, NCCL, tensorpipe and UCX that choose a network interface."""


class MissingInterface(Record, frozen=True, kw_only=True):
    """An interface that is not there; what is not known is None or empty."""

    name: str | None
    variable: str | None
    value: str
    source: EnvSource | None
    """Who set the variable."""
    interfaces: tuple[str, ...]
    """Those that the node has."""


def interface_of(sample: AnalysisInput, text: str) -> MissingInterface | None:
    """Return the interface that an error is about, None for any other error."""
    found = MISSING_INTERFACE.search(text)

    if found is None:
        return None

    name = (found["name"] or "").rstrip(".,;") or None
    interfaces = tuple(sorted({interface for names in _interfaces(sample) for interface in names}))

    for variable, known in _variables(sample).items():
        if name in known.value.split(",") if name else known.value:
            return MissingInterface(
                name=name,
                variable=variable,
                value=known.value,
                source=known.source,
                interfaces=interfaces,
            )

    return MissingInterface(name=name, variable=None, value="", source=None, interfaces=interfaces)


def _variables(sample: AnalysisInput) -> Mapping[str, EnvVar]:
    """Return the variables that choose an interface: as ranks have them, else as Ray was told."""
    observation = sample.observation
    workers = observation.actors.workers if observation.actors else ()
    given = dict(observation.job.runtime_env_vars)

    for row in workers:
        given |= row.runtime_env_vars

    known = {name: EnvVar(value=value, source="runtime_env") for name, value in given.items()}

    for member in sample.members:
        known |= member.worker.env

    return {name: known[name] for name in sorted(known) if NAMES_INTERFACE.search(name)}


def _interfaces(sample: AnalysisInput) -> Iterator[tuple[str, ...]]:
    for report in sample.observation.node_reports.values():
        if report.post_mortem is not None:
            yield report.post_mortem.interfaces
