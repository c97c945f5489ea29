"""DeepSpeed configs that differ between ranks."""

from __future__ import annotations

from dsray_inspect.agent.detectors.config_drift import ConfigDrift, WorldOfOne
from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import agree, count, name_ranks, sentence


@words.register
def config_drift(facts: ConfigDrift, _detection: Detection) -> Words:
    first = name_ranks([facts.first])
    lines = tuple(
        f"{setting.key}: {setting.most or '–'} on most ranks, {setting.odd or '–'} on {first}"
        for setting in facts.differences
    )
    return Words(
        summary=f"{sentence(name_ranks(facts.odd))} {agree(facts.odd, 'runs', 'run')} a different "
        f"DeepSpeed config: {lines[0] if lines else 'its digest differs'}.",
        evidence=lines,
    )


@words.register
def world_of_one(facts: WorldOfOne, _detection: Detection) -> Words:
    steps = count(facts.gradient_accumulation_steps, "micro batch", "micro batches")
    return Words(
        summary="DeepSpeed read its config for a world of 1 rank, but there are "
        f"{facts.world_size}: it accumulates {steps} per step.",
        evidence=(
            f"world_size 1 in the engine's config, WORLD_SIZE {facts.world_size}",
            (
                f"train_batch_size {facts.train_batch_size}, micro batch "
                f"{facts.micro_batch_size}, accumulation {facts.gradient_accumulation_steps}"
            ),
        ),
    )
