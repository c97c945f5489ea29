"""Ranks that wait in `init_process_group` for ranks that have not reached it."""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.detection import Detection, Facts, rank_numbers
from dsray_inspect.agent.detectors.evidence.activity import activity_of
from dsray_inspect.agent.detectors.evidence.rank_index import in_phase
from dsray_inspect.agent.detectors.process_groups import LATE_S, elsewhere
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import OK, Phase, Record, Worker

AGREED = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")
"""Variables that must be equal on all ranks for the rendezvous."""


class RankPhase(Record, frozen=True, kw_only=True):
    """A rank of a run that is being set up: what it is in, and why it did not answer."""

    rank: int | None
    phase: Phase
    function: str | None
    silence: str | None


class Disagreement(Facts, frozen=True, kw_only=True):
    """A variable of the rendezvous that is not the same on all ranks, by value."""

    variable: str
    values: tuple[tuple[str, tuple[int, ...]], ...]
    phases: tuple[RankPhase, ...]


class MissingRanks(Facts, frozen=True, kw_only=True):
    """Ranks that wait in the rendezvous; the others are the ranks of the detection."""

    inside: tuple[int, ...]
    phases: tuple[RankPhase, ...]


@detector(
    causes=(
        "rendezvous_wait",
        "rank_blocked_in_user_code",
        "data_stall",
        "checkpoint_stall",
        "object_wait",
        "straggler",
        "rank_divergence",
    ),
    after=("op_compile_slow",),
)
def rendezvous_wait(sample: AnalysisInput) -> list[Detection]:
    """Some ranks are in init_process_group, and others have not reached it, or not this one."""
    joining = in_phase(sample, "init_process_group")
    inside = [member for member in joining if _in_torch_distributed(member)]

    if not inside:
        return []

    different = _disagreement(sample)

    if different is not None:
        return [different]

    return elsewhere(sample, inside) or [_missing(sample, inside)]


def _in_torch_distributed(member: RankContext) -> bool:
    """Return whether a rank is in the rendezvous itself, not on its way there."""
    thread = member.training
    innermost = thread.frames[-1] if thread and thread.frames else None
    return innermost is not None and innermost.layer in ("collective", "torch", "native")


def _disagreement(sample: AnalysisInput) -> Detection | None:
    """Return a detection where ranks connect to different places or count differently."""
    for name in AGREED:
        values: dict[str, list[int]] = {}

        for member in sample.members:
            if name in member.worker.env and member.worker.rank is not None:
                values.setdefault(member.worker.env[name].value, []).append(member.worker.rank)

        if len(values) > 1:
            usual = max(values, key=lambda value: len(values[value]))
            odd = sorted(rank for value in values if value != usual for rank in values[value])
            return Detection(
                cause="rendezvous_wait",
                severity="error",
                ranks=tuple(odd),
                facts=Disagreement(
                    variable=name,
                    values=tuple((value, tuple(held)) for value, held in values.items()),
                    phases=_phases(sample),
                ),
            )

    return None


def _missing(sample: AnalysisInput, inside: Sequence[RankContext]) -> Detection:
    here = [member.worker for member in inside]
    entered, present = set(rank_numbers(here)), set(rank_numbers(sample.snapshot.workers))
    outside = [
        member
        for member in sample.members
        if member.worker.state == "alive"
        and member.worker.phase != "finished"
        and member.worker.rank not in entered
    ]
    numbers = rank_numbers(member.worker for member in outside) or tuple(
        rank for rank in range(_believed_size(here)) if rank not in present
    )
    stuck = bool(numbers) and (not outside or all(_is_stuck(sample, member) for member in outside))
    waited_s = max((worker.idle_s or 0.0 for worker in here), default=0.0)
    return Detection(
        cause="rendezvous_wait",
        severity="error" if stuck and waited_s >= LATE_S else "warning",
        ranks=numbers,
        facts=MissingRanks(inside=rank_numbers(here), phases=_phases(sample)),
    )


def _believed_size(workers: Sequence[Worker]) -> int:
    """Return the world size that the ranks themselves go by."""
    sizes = [
        int(worker.env["WORLD_SIZE"].value) for worker in workers if "WORLD_SIZE" in worker.env
    ]
    return max((*sizes, *(worker.world_size or 0 for worker in workers)), default=0)


def _is_stuck(sample: AnalysisInput, member: RankContext) -> bool:
    activity = activity_of(sample, member)
    return activity is not None and activity.is_still and member.worker.function is not None


def _phases(sample: AnalysisInput) -> tuple[RankPhase, ...]:
    return tuple(
        RankPhase(
            rank=worker.rank,
            phase=worker.phase,
            function=worker.function.name if worker.function else None,
            silence=worker.evidence.worker if worker.evidence.worker != OK else None,
        )
        for worker in sample.snapshot.workers
    )
