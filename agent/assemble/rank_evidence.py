"""Which sources answered for one rank, and why the others did not."""

from __future__ import annotations

from functools import lru_cache

from dsray_inspect.agent.model import OK, Evidence
from dsray_inspect.agent.sampling.process_probe import ProcessProbe
from dsray_inspect.agent.sampling.rank_report import ControllerReport, RankReport
from dsray_inspect.agent.unavailable import NOT_ASKED, Unavailable


def evidence_of(
    own: RankReport,
    probe: ProcessProbe,
    *,
    silence: Unavailable | None,
    controller: str,
    stack: str,
    gpu: str,
    has_env: bool,
) -> Evidence:
    """Return what each source said, `silence` being why the rank gave no report of its own."""
    failure = silence or _failure_of(own)
    none_asked = failure or NOT_ASKED
    return _evidence(
        controller,
        str(failure or OK),
        stack,
        gpu,
        OK if has_env else why_none(probe.environ, none_asked),
        _why_no_recorder(own, probe, none_asked),
        why_none(own.deepspeed, none_asked),
    )


@lru_cache(maxsize=4096)
def _evidence(
    controller: str, worker: str, stack: str, gpu: str, env: str, collectives: str, deepspeed: str
) -> Evidence:
    """Return one record for all ranks of which every source says the same."""
    return Evidence(
        gcs=OK,
        controller=controller,
        worker=worker,
        stack=stack,
        gpu=gpu,
        env=env,
        collectives=collectives,
        deepspeed=deepspeed,
    )


def why_none(part: object, none_asked: Unavailable) -> str:
    """Return "ok", or why a part of a rank's answer is missing."""
    if not isinstance(part, Unavailable):
        return OK

    return str(none_asked if part.reason == "not_asked" else part)


def _why_no_recorder(own: RankReport, probe: ProcessProbe, none_asked: Unavailable) -> str:
    """Return "ok" where either way led to the recorder, else why neither did."""
    if not isinstance(probe.recorder, Unavailable):
        return OK

    inside = why_none(own.collectives, none_asked)
    was_tried = inside != OK and probe.recorder.reason != "not_asked"
    return f"{inside}; from its memory: {probe.recorder}" if was_tried else inside


def _failure_of(own: RankReport) -> Unavailable | None:
    """Return what went wrong in a rank's own read of itself."""
    if not own.failed:
        return None

    detail = f"a read failed inside it: {'; '.join(own.failed)}"
    return Unavailable(reason="failed", detail=detail)


def why_unknown(controller: ControllerReport | Unavailable) -> str:
    if isinstance(controller, Unavailable):
        return str(controller)

    return "the controller does not list this worker"
