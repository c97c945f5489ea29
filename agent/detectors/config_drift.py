"""DeepSpeed configs that should be equal on all ranks and are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts, rank_numbers
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Record, Worker

MOST_KEYS = 6


class KeyDifference(Record, frozen=True, kw_only=True):
    """One key of the config: its value on most ranks, and on the first of the others."""

    key: str
    most: str | None
    odd: str | None


class ConfigDrift(Facts, frozen=True, kw_only=True):
    """Ranks whose config is not that of most, and how that of the first differs."""

    odd: tuple[int, ...]
    first: int | None
    differences: tuple[KeyDifference, ...]


class WorldOfOne(Facts, frozen=True, kw_only=True):
    """An engine that read its config for one rank in a larger world."""

    world_size: int
    train_batch_size: int | None
    micro_batch_size: int
    gradient_accumulation_steps: int


@detector(causes=("config_drift",), after=("collectives_differ",))
def config_drift(sample: AnalysisInput) -> list[Detection]:
    """Ranks whose effective DeepSpeed config differs from the most common one."""
    engines = [
        (worker, worker.deepspeed)
        for worker in sample.snapshot.workers
        if worker.deepspeed is not None
    ]
    digests = Counter(engine.config_digest for _, engine in engines)

    if len(digests) < 2:
        return []

    usual, number = digests.most_common(1)[0]
    odd = [(worker, engine) for worker, engine in engines if engine.config_digest != usual]
    reference = next(engine.config for _, engine in engines if engine.config_digest == usual)
    first, theirs = odd[0][0], odd[0][1].config
    return [
        Detection(
            cause="config_drift",
            severity="error",
            ranks=_blamed(
                sample,
                [worker for worker, _ in odd],
                [worker for worker, _ in engines],
                most=number,
            ),
            facts=ConfigDrift(
                odd=rank_numbers(worker for worker, _ in odd),
                first=first.rank,
                differences=tuple(
                    KeyDifference(key=key, most=reference.get(key), odd=theirs.get(key))
                    for key in sorted({*reference, *theirs})
                    if reference.get(key) != theirs.get(key)
                )[:MOST_KEYS],
            ),
        )
    ]


def _blamed(
    sample: AnalysisInput, odd: Sequence[Worker], known: Sequence[Worker], *, most: int
) -> tuple[int, ...]:
    """Return the minority, all ranks at a tie, and none where unseen ranks could decide it."""
    if most * 2 > len(known):
        return rank_numbers(odd)

    return rank_numbers(known) if len(known) == len(sample.snapshot.workers) else ()


@detector(causes=("config_drift",), after=("config_drift",))
def world_of_one(sample: AnalysisInput) -> list[Detection]:
    """DeepSpeed read its config with another world size than the group's: its batches are wrong."""
    wrong = [
        worker
        for worker in sample.snapshot.workers
        if worker.deepspeed is not None
        and worker.world_size
        and (known := worker.deepspeed.config.get("world_size", "")).isdigit()
        and worker.deepspeed.config.get("zero_optimization.mics_shard_size", "-1") in ("-1", "")
        and int(known) == 1 < worker.world_size
    ]

    if not wrong:
        return []

    engine, world_size = wrong[0].deepspeed, wrong[0].world_size
    assert engine is not None
    assert world_size is not None
    return [
        Detection(
            cause="config_drift",
            severity="error",
            ranks=rank_numbers(wrong),
            facts=WorldOfOne(
                world_size=world_size,
                train_batch_size=engine.train_batch_size,
                micro_batch_size=engine.micro_batch_size,
                gradient_accumulation_steps=engine.gradient_accumulation_steps,
            ),
        )
    ]
