"""Losses that are not finite, steps that are skipped."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.numerics import EngineNumbers, NonfiniteNumbers, SkippedSteps
from dsray_inspect.agent.text.findings.wording import NextCommand, Words, words
from dsray_inspect.agent.text.humanize import name_ranks


@words.register
def nonfinite_numbers(facts: NonfiniteNumbers, detection: Detection) -> Words:
    ranks = detection.ranks
    be = "is" if facts.what == "loss" else "are"
    at_step = f" at step {facts.step}" if facts.step is not None else ""
    return Words(
        summary=f"The {facts.what} of {name_ranks(ranks)} {be} {facts.value}{at_step}: "
        "training continues but learns nothing.",
        evidence=tuple(map(_numbers, facts.ranks_read)),
        next_step=NextCommand(command="stacks", ranks=ranks[:1], flags=("--locals",)),
    )


@words.register
def skipped_steps(facts: SkippedSteps, _detection: Detection) -> Words:
    of = f" of {facts.step}" if facts.step is not None else ""
    return Words(
        summary=f"{facts.skipped}{of} steps, including the latest, were skipped because of "
        "gradient overflow.",
        evidence=tuple(map(_numbers, facts.ranks_read)),
    )


def _numbers(engine: EngineNumbers) -> str:
    values = ", ".join(f"{name} {value}" for name, value in engine.values)
    return f"{name_ranks([engine.rank])}: {values or 'not read'}"
