"""Ranks with the wrong GPU."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.device_conflict import GpuGivenTwice, WrongDevices
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import agree, name_ranks, sentence


@words.register
def gpu_given_twice(facts: GpuGivenTwice, detection: Detection) -> Words:
    ranks = detection.ranks
    return Words(
        summary=f"{sentence(name_ranks(ranks))} share GPU {facts.uuid}.",
        evidence=(
            f"Ray gave {facts.uuid} to {len(ranks)} ranks, each of which asked for all of it",
        ),
    )


@words.register
def wrong_devices(facts: WrongDevices, _detection: Detection) -> Words:
    parts = [f"{name_ranks(shared.ranks)} use one GPU ({shared.device})" for shared in facts.shared]
    beyond = [rank.rank for rank in facts.beyond]

    if beyond:
        has = agree(beyond, "has a LOCAL_RANK", "have a LOCAL_RANK")
        its = agree(beyond, "its", "their")
        parts.append(f"{name_ranks(beyond)} {has} beyond {its} CUDA_VISIBLE_DEVICES")

    return Words(
        summary=f"{sentence('; '.join(parts))}.",
        evidence=(
            *(
                f"{name_ranks(shared.ranks)}: cuda:LOCAL_RANK is GPU {shared.device}"
                for shared in facts.shared
            ),
            *(
                f"rank {rank.rank}: LOCAL_RANK={rank.local_rank}, CUDA_VISIBLE_DEVICES={rank.visible}"
                for rank in facts.beyond
            ),
        ),
    )
