"""The one sentence about a run without findings."""

from __future__ import annotations

import functools
from collections.abc import Callable

from dsray_inspect.agent.detectors.detection import Facts
from dsray_inspect.agent.outlook import (
    BeforeTraining,
    How,
    JobEnded,
    RanksInSetup,
    RanksRun,
    RanksUnseen,
    RunEnded,
    RunRetried,
    WaitingForWorkers,
    WorkersStarting,
)
from dsray_inspect.agent.text.findings.phrases import where_name
from dsray_inspect.agent.text.humanize import agree, count, duration, name_ranks, sentence

ENDINGS = {"SUCCEEDED": "The job has succeeded.", "STOPPED": "The job was stopped."}


@functools.singledispatch
def outlook_sentence(facts: Facts) -> str:
    """Return the summary of the verdict."""
    raise NotImplementedError(f"text/outlook has no words for {type(facts).__name__}")


@outlook_sentence.register
def job_ended(facts: JobEnded) -> str:
    if facts.state == "FAILED":
        return f"The job has failed: {facts.message}"

    return ENDINGS.get(facts.state, "The job has ended.")


@outlook_sentence.register
def run_retried(facts: RunRetried) -> str:
    if facts.error is None:
        ended = count(facts.ended, "worker process has", "worker processes have")
        return f"{ended} ended; Ray Train is about to start attempt {facts.attempt}."

    return f"Ray Train starts attempt {facts.attempt}; the last one failed: {facts.error}"


@outlook_sentence.register
def run_ended(facts: RunEnded) -> str:
    where = f"; its driver is in {where_name(facts.driver_at)}" if facts.driver_at else ""
    return f"The run has ended: {facts.state}{where}."


@outlook_sentence.register
def waiting_for_workers(facts: WaitingForWorkers) -> str:
    if facts.controller_waits_on is None:
        return "There are no workers yet, and the controller does not say what it is waiting on."

    return f"There are no workers yet; the controller is waiting on {facts.controller_waits_on}."


@outlook_sentence.register
def before_training(facts: BeforeTraining) -> str:
    where = f" is in {where_name(facts.driver_at)} and" if facts.driver_at else ""
    return f"There are no workers yet: the driver{where} has not reached fit()."


@outlook_sentence.register
def workers_starting(facts: WorkersStarting) -> str:
    are = agree(facts.starting, "is", "are")
    return f"{facts.starting} of {count(facts.workers, 'worker')} {are} being started."


@outlook_sentence.register
def ranks_unseen(facts: RanksUnseen) -> str:
    rank = name_ranks([facts.rank])
    return (
        f"{facts.seen} of {count(facts.workers, 'rank')} could be seen: {rank} on "
        f"{facts.hostname}, pid {facts.pid}: {facts.why}."
    )


@outlook_sentence.register
def ranks_in_setup(facts: RanksInSetup) -> str:
    return f"The ranks are still being set up: {', '.join(facts.phases)}."


@outlook_sentence.register
def ranks_run(facts: RanksRun) -> str:
    return _SENTENCES[facts.how](facts)


def _advance(facts: RanksRun) -> str:
    step = f" at step {facts.step}" if facts.step is not None else ""
    ago = duration(facts.since_s or 0.0)
    return f"{count(facts.workers, 'rank')}{step}; last progress {ago} ago."


def _work(facts: RanksRun) -> str:
    are = agree(facts.ranks, "is", "are")
    return f"{_no_progress(facts)}, but {name_ranks(facts.ranks)} {are} at work{_place(facts)}."


def _not_begun(facts: RanksRun) -> str:
    are = agree(facts.ranks, "is", "are")
    return (
        "No rank has made a step or entered a collective yet; "
        f"{name_ranks(facts.ranks)} {are} at work{_place(facts)}."
    )


def _is_still(facts: RanksRun) -> str:
    who, runs = name_ranks(facts.ranks), agree(facts.ranks, "runs", "run")
    return f"{_no_progress(facts)}, and {who} hardly {runs}{_place(facts)}."


def _works_for_long(facts: RanksRun) -> str:
    computes = agree(facts.ranks, "computes", "compute")
    return (
        f"{_no_progress(facts)}; {name_ranks(facts.ranks)} {computes}{_place(facts)}, "
        "and nothing tells whether that leads anywhere."
    )


def _wait_in_vain(facts: RanksRun) -> str:
    are = agree(facts.ranks, "is", "are")
    return (
        f"{_no_progress(facts)}: {name_ranks(facts.ranks)} {are} waiting{_place(facts)}, "
        "and nobody whom they wait for was seen at work."
    )


def _not_measured(facts: RanksRun) -> str:
    runs, why = agree(facts.ranks, "runs", "run"), f" ({facts.why})" if facts.why else ""
    return (
        f"{sentence(name_ranks(facts.ranks))} {runs}{_place(facts)}, but nothing shows progress: "
        f"no step or collective was seen{why}."
    )


def _not_known(facts: RanksRun) -> str:
    why = f" ({facts.why})" if facts.why else ""
    return (
        f"{_no_progress(facts)}{why}; one sample does not tell whether "
        f"{name_ranks(facts.ranks)} {agree(facts.ranks, 'works', 'work')} or "
        f"{agree(facts.ranks, 'waits', 'wait')}."
    )


def _are_done(_facts: RanksRun) -> str:
    return "Every rank has returned from the training function, and the run has not ended yet."


_SENTENCES: dict[How, Callable[[RanksRun], str]] = {
    "advance": _advance,
    "work": _work,
    "not begun": _not_begun,
    "is still": _is_still,
    "works for long": _works_for_long,
    "wait in vain": _wait_in_vain,
    "not measured": _not_measured,
    "not known": _not_known,
    "are done": _are_done,
}


def _no_progress(facts: RanksRun) -> str:
    """Return "No new step or collective for 15.0 s (at most 180 ms before)"."""
    if facts.since_s is None:
        return "No step or collective was seen"

    usual = f" (at most {duration(facts.usual_s)} before)" if facts.usual_s is not None else ""
    return f"No new step or collective for {duration(facts.since_s)}{usual}"


def _place(facts: RanksRun) -> str:
    return f" in {where_name(facts.place)}" if facts.place else ""
