"""From detections to one verdict. One sample can prove little, and no more than that is claimed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.causes import spec_of
from dsray_inspect.agent.detectors.registry import registered
from dsray_inspect.agent.gc_pause import without_collector
from dsray_inspect.agent.graph import graph_of
from dsray_inspect.agent.model import Cause, Finding, Snapshot, Verdict, VerdictState, WaitGraph
from dsray_inspect.agent.outlook import outlook
from dsray_inspect.agent.text.command_hint import CommandHint
from dsray_inspect.agent.text.findings.wording import finding_of
from dsray_inspect.agent.text.outlook import outlook_sentence

DETECTORS: Final = registered()
NO_HINT: Final = CommandHint()
GOES_ON: Final[tuple[Cause, ...]] = ("config_drift", "restart_loop")
"""What is an error and yet lets the run go on."""


@without_collector
def judge(sample: AnalysisInput, hint: CommandHint = NO_HINT) -> Snapshot:
    """Return the snapshot with its findings and verdict.

    Args:
        sample: The sample, and the one before it.
        hint: How the user named the job, for the commands that are suggested.
    """
    findings: list[Finding] = []
    notes = list(sample.snapshot.notes)

    for detector in DETECTORS:
        try:
            findings.extend(finding_of(found, hint) for found in detector.detect(sample))
        except Exception as error:
            notes.append(f"The detector {detector.name} failed: {type(error).__name__}: {error}")

    graph = WaitGraph()

    try:
        graph = graph_of(sample)
    except Exception as error:
        notes.append(f"The wait-for graph failed: {type(error).__name__}: {error}")

    return msgspec.structs.replace(
        sample.snapshot,
        graph=graph,
        findings=tuple(findings),
        verdict=verdict_of(sample, findings),
        notes=tuple(notes),
    )


def verdict_of(sample: AnalysisInput, findings: Sequence[Finding]) -> Verdict:
    """Return what the first error says, else the first finding, else the state of the run."""
    errors = [finding for finding in findings if finding.severity == "error"]

    for first in (*errors[:1], *findings[:1]):
        return Verdict(
            state=_state_for(sample.snapshot, first),
            cause=first.cause,
            ranks=first.ranks,
            summary=first.summary,
        )

    state, rests_on = outlook(sample)
    return Verdict(state=state, cause=None, ranks=(), summary=outlook_sentence(rests_on))


def _is_outside(finding: Finding) -> bool:
    """Tell whether a finding is about more than the present worker group."""
    family = spec_of(finding.cause).family
    return family == "driver and controller" or finding.cause == "restart_loop"


def _state_for(snapshot: Snapshot, finding: Finding) -> VerdictState:
    spec, is_error = spec_of(finding.cause), finding.severity == "error"
    all_dead = all(worker.state == "dead" for worker in snapshot.workers)

    if snapshot.job.has_ended or spec.ends_run:
        return "failed"

    if is_error and snapshot.workers and all_dead and not _is_outside(finding):
        return "failed"  # the finding is about a group that has ended

    if finding.cause == "resources_pending" or (not is_error and spec.in_setup):
        return "starting"

    return "hung" if is_error and finding.cause not in GOES_ON else "degraded"
