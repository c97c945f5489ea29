"""Environment variables that matter and are not what they should be: by rank, and by driver."""

from __future__ import annotations

import re

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.findings import name_ranks, next_command, ranks
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.environment import Difference, differences
from dsray_inspect.agent.model import Finding
from dsray_inspect.agent.unavailable import Unavailable

MATTERS = re.compile(
    r"(?:NCCL|GLOO|TORCH|TORCHINDUCTOR|PYTORCH|DS|DEEPSPEED|CUDA|UCX|FI|XLA|MKL|OMP|KMP|HF|ACCELERATE"
    r"|TRANSFORMERS|TOKENIZERS)_\w+|LD_LIBRARY_PATH|LD_PRELOAD|PYTHONPATH|PATH|PYTHONHASHSEED"
)
FOR_TRAINING = re.compile(r"(?:NCCL|GLOO|TORCH|DS|DEEPSPEED|UCX|FI)_\w+")
MOST = 3


@detector(causes=("env_drift",), after=("object_spilling",))
def env_drift(facts: AnalysisInput) -> list[Finding]:
    return [*between_ranks(facts), *driver_only(facts)]


def between_ranks(facts: AnalysisInput) -> list[Finding]:
    """Ranks that have another value than most of a variable that libraries read."""
    envs = {one.rank: one.env for one in facts.snapshot.workers if one.rank is not None and one.env}
    drift = [
        one
        for one in differences(envs).drift
        if MATTERS.fullmatch(one.name) and not by_node(facts, one)
    ]

    if not drift:
        return []

    odd = sorted({rank for one in drift for value in one.values[1:] for rank in value.ranks})
    even = all(len(one.values[0].ranks) * 2 <= len(envs) for one in drift)
    lines = [text(one) for one in drift[:MOST]]
    return [
        Finding(
            cause="env_drift",
            severity="warning",
            ranks=tuple(sorted(envs)) if even else tuple(odd),
            summary=f"{name_ranks(odd).capitalize()} "
            f"{'has' if len(odd) == 1 else 'have'} another environment: {lines[0]}.",
            evidence=tuple(lines),
            next_step=next_command(facts, "env", ()),
        )
    ]


def by_node(facts: AnalysisInput, one: Difference) -> bool:
    """Tell whether a variable differs between nodes only: images and paths may, by right."""
    node_of = {worker.rank: worker.node_id for worker in facts.snapshot.workers}
    nodes = [{node_of[rank] for rank in value.ranks} for value in one.values]
    apart = len(set.union(*nodes)) == sum(map(len, nodes))
    return len(set.union(*nodes)) > 1 and apart and one.name in ("PATH", "LD_LIBRARY_PATH")


def text(one: Difference) -> str:
    parts = [
        f"{value.value if value.value is not None else 'not set'} on {name_ranks(value.ranks)}"
        for value in one.values
    ]
    return f"{one.name}: {', '.join(parts)}"


def driver_only(facts: AnalysisInput) -> list[Finding]:
    """Variables that the driver's own code has set and no rank has: Ray does not pass them on."""
    environ = facts.observation.driver.environ
    workers = [one for one in facts.snapshot.workers if one.env]

    if not workers or len(workers) < len(facts.snapshot.workers):
        return []

    if isinstance(environ, Unavailable):
        return []

    hidden = sorted(
        name
        for name in environ.set_after_exec
        if FOR_TRAINING.fullmatch(name) and all(name not in one.env for one in workers)
    )

    if not hidden:
        return []

    lines = [
        f"{name}={environ.variables[name]} on the driver, not set on any rank" for name in hidden
    ]
    return [
        Finding(
            cause="env_drift",
            severity="warning",
            ranks=ranks(workers),
            summary=f"{hidden[0]} is set on the driver and never reached the ranks.",
            evidence=tuple(lines[:MOST]),
            next_step=f'runtime_env={{"env_vars": {{"{hidden[0]}": …}}}} in ray.init or the job',
        )
    ]
