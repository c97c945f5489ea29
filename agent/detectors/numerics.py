"""Training that runs and learns nothing: losses that are not finite, steps that are skipped."""

from __future__ import annotations

from typing import Literal

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.detection import Detection, Facts, rank_numbers
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Record
from dsray_inspect.agent.remote.training_health import OVERFLOWED

NOT_FINITE = ("nan", "inf", "-inf")
LEAST_SKIPPED = 3
LEAST_SHARE = 0.05


class EngineNumbers(Record, frozen=True, kw_only=True):
    """What was read of a rank's engine, by name; empty where nothing was."""

    rank: int | None
    values: tuple[tuple[str, float | str], ...]


class NonfiniteNumbers(Facts, frozen=True, kw_only=True):
    """A loss, or weights, that are not finite."""

    what: Literal["loss", "weights"]
    value: str
    step: int | None
    ranks_read: tuple[EngineNumbers, ...]


class SkippedSteps(Facts, frozen=True, kw_only=True):
    """Steps that the rank with most of them skipped, the latest among them."""

    skipped: int
    step: int | None
    ranks_read: tuple[EngineNumbers, ...]


@detector(causes=("nonfinite_loss",), after=("memory_pressure",))
def nonfinite_loss(facts: AnalysisInput) -> list[Detection]:
    """A loss, or the weights themselves, are not finite."""
    known = [member for member in facts.members if member.health]
    losses = [member for member in known if member.health.get("loss") in NOT_FINITE]
    weights = [member for member in known if member.health.get("weight") in NOT_FINITE]
    culprits = losses or weights

    if not culprits:
        return []

    return [
        Detection(
            cause="nonfinite_loss",
            severity="warning",
            ranks=rank_numbers(member.worker for member in culprits),
            facts=NonfiniteNumbers(
                what="loss" if losses else "weights",
                value=str(culprits[0].health["loss" if losses else "weight"]),
                step=culprits[0].worker.step,
                ranks_read=tuple(_numbers(member) for member in facts.members),
            ),
        )
    ]


@detector(causes=("overflow_skips",), after=("nonfinite_loss",))
def overflow_skips(facts: AnalysisInput) -> list[Detection]:
    """The newest step was skipped because of an overflow, as were many before it."""
    skipping = [member for member in facts.members if member.health and _is_skipping(member)]

    if not skipping:
        return []

    most = max(skipping, key=lambda member: float(member.health["skipped_steps"]))
    return [
        Detection(
            cause="overflow_skips",
            severity="warning",
            ranks=rank_numbers(member.worker for member in skipping),
            facts=SkippedSteps(
                skipped=round(float(most.health["skipped_steps"])),
                step=most.worker.step,
                ranks_read=tuple(_numbers(member) for member in skipping),
            ),
        )
    ]


def _is_skipping(member: RankContext) -> bool:
    skipped = member.health.get("skipped_steps") or 0.0
    norm = member.health.get("grad_norm")
    steps = member.worker.step or 0
    return norm in OVERFLOWED and skipped >= max(LEAST_SKIPPED, LEAST_SHARE * steps)


def _numbers(member: RankContext) -> EngineNumbers:
    return EngineNumbers(
        rank=member.worker.rank,
        values=tuple((name, value) for name, value in member.health.items() if value is not None),
    )
