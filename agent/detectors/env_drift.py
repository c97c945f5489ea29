"""Environment variables that matter and are not what they should be: by rank, and by driver."""

from __future__ import annotations

import re

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection, Facts, rank_numbers
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.environment import Difference, differences
from dsray_inspect.agent.model.vocabulary import SETUP_PHASES, EnvSource
from dsray_inspect.agent.unavailable import Unavailable

MATTERS = re.compile(
    r"(?:NCCL|GLOO|TORCH|TORCHINDUCTOR|PYTORCH|DS|DEEPSPEED|CUDA|UCX|FI|XLA|MKL|OMP|KMP|HF|ACCELERATE"
    r"|TRANSFORMERS|TOKENIZERS)_\w+|LD_LIBRARY_PATH|LD_PRELOAD|PYTHONPATH|PATH|PYTHONHASHSEED"
)
FOR_TRAINING = re.compile(r"(?:NCCL|GLOO|TORCH|DS|DEEPSPEED|UCX|FI)_\w+")
SET_LATER: frozenset[EnvSource] = frozenset(["ray_train", "deepspeed", "user_code"])
"""Who sets variables in a process that runs already, in one rank sooner than in another."""
STUCK_S = 10.0
"""A rank that has been idle for so long in its set-up is not about to set anything."""
MOST = 3


class EnvDiffers(Facts, frozen=True, kw_only=True):
    """Ranks that have another value than most of some variables."""

    odd: tuple[int, ...]
    variables: tuple[Difference, ...]


class DriverOnlyEnv(Facts, frozen=True, kw_only=True):
    """Variables, with their values, that the driver's own code set and no rank has."""

    variables: tuple[tuple[str, str], ...]


@detector(causes=("env_drift",), after=("object_spilling",))
def env_drift(sample: AnalysisInput) -> list[Detection]:
    """Variables that libraries read differ between ranks, or never reached them."""
    return [*_between_ranks(sample), *_driver_only(sample)]


def _between_ranks(sample: AnalysisInput) -> list[Detection]:
    envs = {
        worker.rank: worker.env
        for worker in sample.snapshot.workers
        if worker.rank is not None and worker.env
    }
    drift = [
        difference
        for difference in differences(envs).drift
        if MATTERS.fullmatch(difference.name)
        and not _by_node(sample, difference)
        and not _may_still_come(sample, difference)
    ]

    if not drift:
        return []

    odd = sorted({rank for found in drift for value in found.values[1:] for rank in value.ranks})
    even = all(len(difference.values[0].ranks) * 2 <= len(envs) for difference in drift)
    return [
        Detection(
            cause="env_drift",
            severity="warning",
            ranks=tuple(sorted(envs)) if even else tuple(odd),
            facts=EnvDiffers(odd=tuple(odd), variables=tuple(drift[:MOST])),
        )
    ]


def _by_node(sample: AnalysisInput, difference: Difference) -> bool:
    """Tell whether a variable differs between nodes only: images and paths may."""
    node_of = {worker.rank: worker.node_id for worker in sample.snapshot.workers}
    nodes = [{node_of[rank] for rank in value.ranks} for value in difference.values]
    apart = len(set.union(*nodes)) == sum(map(len, nodes))
    is_path = difference.name in ("PATH", "LD_LIBRARY_PATH")
    return len(set.union(*nodes)) > 1 and apart and is_path


def _may_still_come(sample: AnalysisInput, difference: Difference) -> bool:
    """Tell whether ranks that are on their way through the set-up lack it, and others set it there."""
    lacking = {rank for value in difference.values if value.value is None for rank in value.ranks}
    workers = [worker for worker in sample.snapshot.workers if worker.rank is not None]
    sources = {
        worker.env[difference.name].source for worker in workers if difference.name in worker.env
    }
    return (
        bool(lacking)
        and sources <= SET_LATER
        and all(
            worker.phase in SETUP_PHASES and (worker.idle_s or 0.0) < STUCK_S
            for worker in workers
            if worker.rank in lacking
        )
    )


def _driver_only(sample: AnalysisInput) -> list[Detection]:
    """Variables that the driver's own code has set and no rank has: Ray does not pass them on."""
    environ = sample.observation.driver.environ
    workers = [worker for worker in sample.snapshot.workers if worker.env]

    if isinstance(environ, Unavailable):
        return []

    if not workers or len(workers) < len(sample.snapshot.workers):
        return []

    hidden = sorted(
        name
        for name in environ.set_after_exec
        if FOR_TRAINING.fullmatch(name) and all(name not in worker.env for worker in workers)
    )

    if not hidden:
        return []

    return [
        Detection(
            cause="env_drift",
            severity="warning",
            ranks=rank_numbers(workers),
            facts=DriverOnlyEnv(
                variables=tuple((name, environ.variables[name]) for name in hidden[:MOST])
            ),
        )
    ]
