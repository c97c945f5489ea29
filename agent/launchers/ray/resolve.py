"""Which run a user means: JOB is a submission id, a job id, a run id or a run's name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from dsray_inspect.agent.errors import AmbiguousTarget, TargetNotFound
from dsray_inspect.agent.handles import Candidate, Submission


def choose(candidates: Sequence[Candidate], name: str | None) -> Candidate:
    """Return the one run that `name` means, or the only running one.

    Of several runs of one job it is the one that needs attention; see `_foremost`.

    Raises:
        TargetNotFound: nothing is called so; near names are suggested.
        AmbiguousTarget: runs of several jobs fit; they are listed.
    """
    running = [candidate for candidate in candidates if not candidate.job.is_dead]

    if name is None:
        with_runs = [
            candidate
            for candidate in running
            if candidate.actors is not None and candidate.actors.alive
        ]
        return only(with_runs, "training runs are running", candidates)

    fitting = [candidate for candidate in candidates if candidate.is_called(name)]

    if not fitting:
        raise not_found(candidates, name)

    living = [candidate for candidate in fitting if not candidate.job.is_dead]
    active = [
        candidate for candidate in living if candidate.actors is not None and candidate.actors.alive
    ]
    chosen = active or living or fitting
    return only(chosen, f"runs fit {name}", candidates)


def only(chosen: Sequence[Candidate], what: str, candidates: Sequence[Candidate]) -> Candidate:
    if not chosen:
        raise TargetNotFound(
            "No training run is running in this cluster.",
            help_text=known(candidates)
            or "Start one with `ray job submit`, or see `ray list jobs`.",
        )

    if len({candidate.job.job_id for candidate in chosen}) > 1:
        raise AmbiguousTarget(
            f"{len(chosen)} {what}: " + ", ".join(candidate.label for candidate in chosen) + ".",
            help_text=f"Name one, for example: dsray-inspect attach {name_of(chosen[0])}",
        )

    return max(chosen, key=_foremost)


def _foremost(candidate: Candidate) -> tuple[bool, int]:
    """Return what is greatest for the run that waits for workers, else for the newest."""
    run = candidate.actors
    return run is not None and run.waits_for_workers, candidate.number


def name_of(candidate: Candidate) -> str:
    return (candidate.run_id or "")[:8] or candidate.run_name or candidate.typed_name


def known(candidates: Sequence[Candidate]) -> str:
    labels = sorted({candidate.job.label for candidate in candidates})
    return f"Jobs it remembers: {', '.join(labels[-8:])}." if labels else ""


def without_driver(name: str, submission: Submission) -> TargetNotFound:
    """Say of a job that Ray's job manager knows why there is nothing to attach to."""
    if submission.status in ("PENDING", "RUNNING"):
        return TargetNotFound(
            f"Job {name} is {submission.status}, and its driver has not joined Ray yet.",
            help_text=f"Look again in a moment; `ray job logs {name}` shows what it does.",
        )

    why = f": {submission.message.rstrip('.')}" if submission.message else ""
    return TargetNotFound(
        f"Job {name} ended ({submission.status}) before its driver joined Ray{why}.",
        help_text=f"ray job logs {name}   shows what it printed.",
    )


def not_found(candidates: Sequence[Candidate], name: str) -> TargetNotFound:
    names = {
        text
        for candidate in candidates
        for text in (
            candidate.job.submission_id,
            candidate.job.job_id,
            candidate.run_id,
            candidate.run_name,
        )
        if text
    }
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return TargetNotFound(
        f"This cluster has no job or run called {name}.",
        help_text=hint + "`dsray-inspect ls` shows what there is.",
    )
