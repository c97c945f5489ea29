"""What should be equal on all ranks and is not: DeepSpeed's config, devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.findings import name_ranks, next_command, ranks
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Finding, Worker

MAX_KEYS = 6


@detector(causes=("config_drift",), after=("collectives_differ",))
def config_drift(facts: AnalysisInput) -> list[Finding]:
    """Ranks whose effective DeepSpeed config differs from the most common one."""
    known = [worker for worker in facts.snapshot.workers if worker.deepspeed is not None]
    digests = Counter(worker.deepspeed.config_digest for worker in known if worker.deepspeed)

    if len(digests) < 2:
        return []

    usual = digests.most_common(1)[0][0]
    odd = [one for one in known if one.deepspeed and one.deepspeed.config_digest != usual]
    reference = next(
        one.deepspeed for one in known if one.deepspeed and one.deepspeed.config_digest == usual
    )
    theirs = odd[0].deepspeed
    keys = sorted(
        key
        for key in {*reference.config, *(theirs.config if theirs else {})}
        if theirs and reference.config.get(key) != theirs.config.get(key)
    )
    lines = tuple(
        f"{key}: {reference.config.get(key, '–')} on most, {theirs.config.get(key, '–')} on rank {odd[0].rank}"
        for key in keys[:MAX_KEYS]
        if theirs
    )
    return [
        Finding(
            cause="config_drift",
            severity="error",
            ranks=blamed(facts, odd, known, digests[usual]),
            summary=f"{name_ranks(ranks(odd)).capitalize()} run another DeepSpeed config: {lines[0] if lines else 'digest'}.",
            evidence=lines,
            next_step=next_command(facts, "attach", (), "--json"),
        )
    ]


def blamed(
    facts: AnalysisInput, odd: Sequence[Worker], known: Sequence[Worker], most: int
) -> tuple[int, ...]:
    """Return the minority, all of them at a tie, and none where unseen ranks could decide it."""
    if most * 2 > len(known):
        return ranks(odd)

    return ranks(known) if len(known) == len(facts.snapshot.workers) else ()


@detector(causes=("config_drift",), after=("config_drift",))
def world_of_one(facts: AnalysisInput) -> list[Finding]:
    """DeepSpeed read its config with another world size than the group has: its batches are wrong."""
    wrong = [
        worker
        for worker in facts.snapshot.workers
        if worker.deepspeed is not None
        and worker.world_size
        and (known := worker.deepspeed.config.get("world_size", "")).isdigit()
        and worker.deepspeed.config.get("zero_optimization.mics_shard_size", "-1") in ("-1", "")
        and int(known) == 1 < worker.world_size
    ]

    if not wrong:
        return []

    engine = wrong[0].deepspeed
    assert engine is not None
    return [
        Finding(
            cause="config_drift",
            severity="error",
            ranks=ranks(wrong),
            summary=f"DeepSpeed read its config as of 1 rank, and there are {wrong[0].world_size}: "
            f"it accumulates {engine.gradient_accumulation_steps} micro batches a step.",
            evidence=(
                f"world_size 1 in the engine's config, WORLD_SIZE {wrong[0].world_size}",
                (
                    f"train_batch_size {engine.train_batch_size}, micro batch "
                    f"{engine.micro_batch_size}, accumulation {engine.gradient_accumulation_steps}"
                ),
            ),
            next_step=next_command(facts, "attach", (), "--json"),
        )
    ]


@detector(causes=("device_conflict",), after=("world_of_one",))
def device_conflict(facts: AnalysisInput) -> list[Finding]:
    """Two ranks have one GPU: by what Ray gave them, or by what their own variables say."""
    given = given_twice(facts)
    return given or seen_twice(facts)


def seen_twice(facts: AnalysisInput) -> list[Finding]:
    """`cuda:LOCAL_RANK`, which DeepSpeed takes, is one device for two ranks of a node, or none."""
    devices: dict[tuple[str, str], list[int]] = {}
    beyond: list[tuple[int, int, str]] = []
    on_purpose = sharing(facts)

    for worker in facts.snapshot.workers:
        visible = worker.env.get("CUDA_VISIBLE_DEVICES")
        known = None not in (visible, worker.local_rank, worker.rank) and worker.gpus

        if not known or worker.actor_id in on_purpose:
            continue

        assert visible is not None
        assert worker.local_rank is not None
        assert worker.rank is not None
        names = [name.strip() for name in visible.value.split(",") if name.strip()]

        if worker.local_rank < len(names):
            key = (worker.node_id, names[worker.local_rank])
            devices.setdefault(key, []).append(worker.rank)
        elif len(names) == 1:
            # Code that asks Ray Train for its device takes the only one.
            devices.setdefault((worker.node_id, names[0]), []).append(worker.rank)
        else:
            beyond.append((worker.rank, worker.local_rank, visible.value))

    shared = {key: held for key, held in devices.items() if len(held) > 1}
    numbers = sorted({rank for held in shared.values() for rank in held} | {b[0] for b in beyond})

    if not numbers:
        return []

    lines = [
        *(f"{name_ranks(held)}: cuda:LOCAL_RANK is GPU {key[1]}" for key, held in shared.items()),
        *(
            f"rank {rank}: LOCAL_RANK={local}, CUDA_VISIBLE_DEVICES={value}"
            for rank, local, value in beyond
        ),
    ]
    return [
        Finding(
            cause="device_conflict",
            severity="warning",
            ranks=tuple(numbers),
            summary=f"{name_ranks(numbers).capitalize()} come to one GPU: {lines[0]}.",
            evidence=tuple(lines),
            next_step=next_command(facts, "env", (), "--all"),
        )
    ]


def sharing(facts: AnalysisInput) -> set[str]:
    """Return the actors that asked for a part of a GPU."""
    actors = facts.observation.actors
    return {row.actor_id for row in actors.workers if row.gpu_share < 1} if actors else set()


def given_twice(facts: AnalysisInput) -> list[Finding]:
    """Two ranks of this run have the same GPU, and did not ask for a part of one."""
    on_purpose = sharing(facts)
    by_uuid: dict[str, list[int]] = {}

    for worker in facts.snapshot.workers:
        uuids = [gpu.uuid for gpu in worker.gpus if gpu.uuid]

        if uuids and worker.rank is not None and worker.state == "alive":
            for uuid in uuids if worker.actor_id not in on_purpose else ():
                by_uuid.setdefault(uuid, []).append(worker.rank)

    return [
        Finding(
            cause="device_conflict",
            severity="warning",
            ranks=tuple(sorted(shared)),
            summary=f"{name_ranks(sorted(shared)).capitalize()} share GPU {uuid}.",
            evidence=(f"Ray gave {uuid} to {len(shared)} ranks",),
            next_step=next_command(facts, "env", (), "--all"),
        )
        for uuid, shared in by_uuid.items()
        if len(shared) > 1
    ]
