"""Turns detections into findings: sentences, evidence lines and the command to run next."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from dsray_inspect.agent.causes import spec_of
from dsray_inspect.agent.detectors.detection import Detection, Facts
from dsray_inspect.agent.model import Finding, Record
from dsray_inspect.agent.text import findings
from dsray_inspect.agent.text.command_hint import CommandHint


class NextCommand(Record, frozen=True, kw_only=True):
    """A subcommand to run next, on some ranks or on all."""

    command: str
    ranks: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()


class Words(Record, frozen=True, kw_only=True):
    """What is said of a detection.

    `next_step` is a command of dsray-inspect, or any other text that can be pasted; None for that
    of the cause, on the blamed ranks.
    """

    summary: str
    evidence: tuple[str, ...] = ()
    next_step: NextCommand | str | None = None


@functools.singledispatch
def words(facts: Facts, detection: Detection) -> Words:
    """Return what to say of a detection with these facts."""
    raise NotImplementedError(f"text/findings has no words for {type(facts).__name__}")


def finding_of(detection: Detection, hint: CommandHint) -> Finding:
    """Return the finding as it is shown."""
    load_wordings()
    said = words(detection.facts, detection)
    return Finding(
        cause=detection.cause,
        severity=detection.severity,
        ranks=detection.ranks,
        summary=said.summary,
        evidence=said.evidence,
        next_step=_next_step(said, detection, hint),
    )


def _next_step(said: Words, detection: Detection, hint: CommandHint) -> str:
    if isinstance(said.next_step, str):
        return said.next_step

    step = said.next_step or _usual_step(detection)
    return hint.line(step.command, step.ranks, step.flags)


def _usual_step(detection: Detection) -> NextCommand:
    command, *flags = spec_of(detection.cause).next or ("attach",)
    ranks = detection.ranks if command == "stacks" else ()
    return NextCommand(command=command, ranks=ranks, flags=tuple(flags))


@functools.cache
def load_wordings() -> None:
    """Import every module of this package, so that its templates are registered."""
    for module in pkgutil.iter_modules(findings.__path__):
        importlib.import_module(f"{findings.__name__}.{module.name}")
