"""A driver or a controller that the user's code blocks."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.driver_controller import ControllerBlocked, DriverBlocked
from dsray_inspect.agent.text.findings.phrases import where_name
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import duration


@words.register
def driver_blocked(facts: DriverBlocked, _detection: Detection) -> Words:
    place = where_name(facts.place)
    idle = f"last ran {duration(facts.idle_s)} ago" if facts.idle_s is not None else "is idle"
    summary = (
        f"The driver is blocked in {place} and has not reached fit(), so no workers have been "
        "requested."
        if facts.run_before == "none"
        else f"The run has {facts.run_before}, the job has not: its driver is blocked in {place}."
    )
    runs = "no TrainController" if facts.run_before == "none" else "no run that is alive"
    return Words(
        summary=summary,
        evidence=(
            f"pid {facts.pid}: {idle}, in {facts.innermost} below {place}",
            f"the job is {duration(facts.job_age_s)} old and has {runs}",
        ),
        next_step=f"py-spy dump --pid {facts.pid}   (on {facts.node_ip})",
    )


@words.register
def controller_blocked(facts: ControllerBlocked, _detection: Detection) -> Words:
    place = where_name(facts.place)
    return Words(
        summary=f"The Train controller is blocked in {place}: it does not poll workers or accept "
        "reports.",
        evidence=(
            f"pid {facts.pid}: its event loop is in {place}",
            f"controller: {facts.silence}",
        ),
        next_step=f"py-spy dump --pid {facts.pid}   (on {facts.node_ip})",
    )
