"""Training that runs and learns nothing: losses that are not finite, steps that are skipped."""

from __future__ import annotations

from typing import Literal

import msgspec

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
def nonfinite_loss(sample: AnalysisInput) -> list[Detection]:
    """A loss, or the weights themselves, are not finite."""
    known = [(member, member.health) for member in sample.members if member.health]
    losses = [(member, health) for member, health in known if health.loss in NOT_FINITE]
    weights = [(member, health) for member, health in known if health.weight in NOT_FINITE]
    culprits = losses or weights

    if not culprits:
        return []

    first, first_health = culprits[0]
    return [
        Detection(
            cause="nonfinite_loss",
            severity="warning",
            ranks=rank_numbers(member.worker for member, _ in culprits),
            facts=NonfiniteNumbers(
                what="loss" if losses else "weights",
                value=str(first_health.loss if losses else first_health.weight),
                step=first.worker.step,
                ranks_read=tuple(_numbers(member) for member in sample.members),
            ),
        )
    ]


@detector(causes=("overflow_skips",), after=("nonfinite_loss",))
def overflow_skips(sample: AnalysisInput) -> list[Detection]:
    """The newest step was skipped because of an overflow, as were many before it."""
    skipping = [member for member in sample.members if _is_skipping(member)]

    if not skipping:
        return []

    most = max(skipping, key=_skipped_steps)
    return [
        Detection(
            cause="overflow_skips",
            severity="warning",
            ranks=rank_numbers(member.worker for member in skipping),
            facts=SkippedSteps(
                skipped=round(_skipped_steps(most)),
                step=most.worker.step,
                ranks_read=tuple(_numbers(member) for member in skipping),
            ),
        )
    ]


def _is_skipping(member: RankContext) -> bool:
    health = member.health

    if health is None or not (health.overflow or health.grad_norm in OVERFLOWED):
        return False

    return _skipped_steps(member) >= max(LEAST_SKIPPED, LEAST_SHARE * (member.worker.step or 0))


def _skipped_steps(member: RankContext) -> float:
    return float((member.health.skipped_steps if member.health else None) or 0.0)


def _numbers(member: RankContext) -> EngineNumbers:
    values = msgspec.structs.asdict(member.health) if member.health else {}
    return EngineNumbers(
        rank=member.worker.rank,
        values=tuple(
            (name, value)
            for name, value in values.items()
            if value is not None and not isinstance(value, bool)
        ),
    )
