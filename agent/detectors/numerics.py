"""Training that runs and learns nothing: losses that are no numbers, steps that are skipped."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.findings import name_ranks, next_command, ranks
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Finding
from dsray_inspect.agent.remote.training_health import OVERFLOWED

NOT_FINITE = ("nan", "inf", "-inf")
LEAST_SKIPPED = 3
LEAST_SHARE = 0.05


@detector(causes=("nonfinite_loss",), after=("memory_pressure",))
def nonfinite_loss(facts: AnalysisInput) -> list[Finding]:
    """A loss, or the weights themselves, are not finite."""
    losses = [one for one in facts.members if one.health and one.health.loss in NOT_FINITE]
    weights = [one for one in facts.members if one.health and one.health.weight in NOT_FINITE]
    culprits = losses or weights

    if not culprits:
        return []

    first = culprits[0]
    assert first.health is not None
    what = "loss" if losses else "weights"
    value = first.health.loss if losses else first.health.weight
    numbers = ranks(one.worker for one in culprits)
    return [
        Finding(
            cause="nonfinite_loss",
            severity="warning",
            ranks=numbers,
            summary=f"The {what} of {name_ranks(numbers)} {'is' if losses else 'are'} {value}"
            f"{at_step(first)}: training goes on and learns nothing.",
            evidence=tuple(f"rank {one.worker.rank}: {text(one)}" for one in facts.members),
            next_step=next_command(facts, "stacks", numbers[:1], "--locals"),
        )
    ]


@detector(causes=("overflow_skips",), after=("nonfinite_loss",))
def overflow_skips(facts: AnalysisInput) -> list[Finding]:
    """The newest step was skipped for an overflow, as were many before it."""
    skipping = [one for one in facts.members if is_skipping(one)]

    if not skipping:
        return []

    most = max(skipping, key=skipped_steps)
    numbers = ranks(one.worker for one in skipping)
    return [
        Finding(
            cause="overflow_skips",
            severity="warning",
            ranks=numbers,
            summary=f"{skipped_steps(most):.0f} steps were skipped for an overflow"
            f"{at_step(most)}, the newest among them.",
            evidence=tuple(f"rank {one.worker.rank}: {text(one)}" for one in skipping),
            next_step=next_command(facts, "attach", (), "--json"),
        )
    ]


def is_skipping(member: RankContext) -> bool:
    norm = member.health.grad_norm if member.health is not None else None
    steps = member.worker.step or 0
    return norm in OVERFLOWED and skipped_steps(member) >= max(LEAST_SKIPPED, LEAST_SHARE * steps)


def skipped_steps(member: RankContext) -> float:
    return float((member.health.skipped_steps if member.health else None) or 0.0)


def at_step(member: RankContext) -> str:
    return f" at step {member.worker.step}" if member.worker.step is not None else ""


def text(member: RankContext) -> str:
    values = msgspec.structs.asdict(member.health) if member.health is not None else {}
    known = [f"{name} {value}" for name, value in values.items() if value is not None]
    return ", ".join(known) or "not read"
