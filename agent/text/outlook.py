"""The one sentence about a run without findings."""

from __future__ import annotations

import functools

from dsray_inspect.agent.detectors.detection import Facts
from dsray_inspect.agent.outlook import (
    BeforeTraining,
    JobEnded,
    RanksInSetup,
    RanksRun,
    RanksUnseen,
    RunEnded,
    WaitingForWorkers,
    WorkersStarting,
)
from dsray_inspect.agent.text.findings.phrases import where_name
from dsray_inspect.agent.text.humanize import agree, count, duration, name_ranks

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
def run_ended(facts: RunEnded) -> str:
    return f"The run has ended: {facts.state}."


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
    ranks, idle = count(facts.workers, "rank"), duration(facts.idle_s)

    if facts.pace == "not known":
        return "Every rank was seen, but /proc does not say when they last ran."

    if facts.pace == "idle":
        return f"No rank has run for {idle}; one sample is not enough to tell why."

    if facts.pace == "idle for too short":
        return f"No rank has run for {idle}: too short to call it hung. Sample again."

    if facts.pace == "long steps":
        return f"{ranks} with long steps; last active {idle} ago."

    step = f" at step {facts.step}" if facts.step is not None else ""
    return f"{ranks}{step}; last active {idle} ago."
