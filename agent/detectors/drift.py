"""What should be equal on all ranks and is not: DeepSpeed's config, devices."""

from __future__ import annotations

from collections import Counter

from dsray_inspect.agent.assemble.snapshot import Facts
from dsray_inspect.agent.detectors.findings import name_ranks, next_command, ranks
from dsray_inspect.agent.model import Finding

MAX_KEYS = 6


def config_drift(facts: Facts) -> list[Finding]:
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
            ranks=ranks(odd) if digests[usual] * 2 > len(known) else ranks(known),
            summary=f"{name_ranks(ranks(odd)).capitalize()} run another DeepSpeed config: {lines[0] if lines else 'digest'}.",
            evidence=lines,
            next_step=next_command(facts, "attach", (), "--json"),
        )
    ]


def device_conflict(facts: Facts) -> list[Finding]:
    """Two ranks of this run have the same GPU, and did not ask for a part of one."""
    actors = facts.answers.actors
    shared_on_purpose = (
        {row.actor_id for row in actors.workers if row.gpu_share < 1} if actors else ()
    )
    by_uuid: dict[str, list[int]] = {}

    for worker in facts.snapshot.workers:
        for gpu in worker.gpus:
            wanted = worker.actor_id in shared_on_purpose

            if gpu.uuid and worker.rank is not None and worker.state == "alive" and not wanted:
                by_uuid.setdefault(gpu.uuid, []).append(worker.rank)

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
