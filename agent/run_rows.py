"""The lines of `ls`: runs as their jobs and controllers tell of them."""

from __future__ import annotations

from dsray_inspect.agent.documents import RunRow
from dsray_inspect.agent.handles import Candidate


def is_running(candidate: Candidate) -> bool:
    return not candidate.job.is_dead and candidate.actors is not None


def row_of(candidate: Candidate) -> RunRow:
    actors = candidate.actors.workers if candidate.actors else ()
    workers = [actor for actor in actors if actor.alive]
    return RunRow(
        submission_id=candidate.job.submission_id,
        job_id=candidate.job.job_id,
        run_id=candidate.run_id,
        run_name=candidate.run_name,
        number=candidate.number if candidate.siblings else None,
        state=_state_of(candidate),
        ranks=len(workers),
        nodes=len({worker.node_id for worker in workers}),
        entrypoint=candidate.job.entrypoint,
    )


def _state_of(candidate: Candidate) -> str:
    if candidate.state:
        return candidate.state

    if candidate.job.is_dead:
        return "ENDED"

    if candidate.actors is None:
        return "NO RUN"

    if not candidate.actors.alive:
        return "ENDED"

    controller = candidate.actors.controller
    return "STARTING" if controller is not None and controller.starting else "NO ANSWER"
