"""`env` as text: what differs and should not, what differs as it must, who set the rest."""

from __future__ import annotations

from collections.abc import Mapping

from dsray_inspect.agent.environment import Difference, differences
from dsray_inspect.agent.model import EnvSource, EnvVar, Snapshot
from dsray_inspect.agent.onsite.redaction import REDACTED
from dsray_inspect.agent.text.stacks import compact
from dsray_inspect.agent.text.style import PLAIN, Style

SOURCES: tuple[EnvSource, ...] = (
    "ray_train",
    "ray",
    "deepspeed",
    "runtime_env",
    "user_code",
    "inherited",
)
BRIEF_INHERITED = (
    "CUDA_",
    "NCCL_",
    "GLOO_",
    "TORCH",
    "OMP_",
    "DS_",
    "HF_",
    "LD_",
    "PYTHON",
    "UCX_",
    "FI_",
)
MAX_VALUE = 60


def env_text(snapshot: Snapshot, style: Style = PLAIN, *, show_all: bool = False) -> str:
    """Return differences first, then what is the same on all ranks, by who set it."""
    envs = {worker.rank: worker.env for worker in snapshot.workers if worker.rank is not None}
    seen = {rank: env for rank, env in envs.items() if env}

    if not seen:
        return "\n".join(["No rank's environment could be read.", *unread(snapshot)])

    found = differences(seen)
    lines: list[str] = []

    if found.drift:
        lines.append(style.paint("differs where it should not", "bold", "yellow"))
        lines += [line for one in found.drift for line in difference_lines(one)]
    else:
        lines.append(f"Nothing differs that should not ({len(seen)} ranks).")

    lines += ["", style.paint("differs as it should", "bold")]
    lines += (
        [line for one in found.expected for line in difference_lines(one)]
        if show_all
        else ["  " + " ".join(brief(one) for one in found.expected)]
    )
    differing = {one.name for one in (*found.drift, *found.expected)}
    lines += ["", style.paint("same on all ranks, by who set it", "bold")]
    lines += same_lines(next(iter(seen.values())), differing, show_all)
    lines += hidden_lines(seen)
    return "\n".join([*lines, *unread(snapshot)])


def difference_lines(difference: Difference) -> list[str]:
    """Return one line a value: the variable, the ranks, the value and who set it."""
    lines = []

    for number, value in enumerate(difference.values):
        name = difference.name if number == 0 else ""
        what = "not set" if value.value is None else f"{clip(value.value)}  ({value.source})"
        lines.append(f"  {name:<32} ranks {compact(value.ranks)}: {what}")

    return lines


def brief(difference: Difference) -> str:
    """Return NAME=0,1,… for a variable of few short values, else its name."""
    values = [value.value or "–" for value in difference.values]
    joined = ",".join(sorted(values))
    return f"{difference.name}={joined}" if len(joined) <= 12 else difference.name


def same_lines(env: Mapping[str, EnvVar], differing: set[str], show_all: bool) -> list[str]:
    lines = []

    for source in SOURCES:
        names = sorted(
            name for name, one in env.items() if one.source == source and name not in differing
        )
        shown = [
            n for n in names if show_all or source != "inherited" or n.startswith(BRIEF_INHERITED)
        ]
        hidden = len(names) - len(shown)
        rest = f"… and {hidden} more (--all)" if hidden else ""

        if show_all:
            lines += [f"  {source:<12} {name}={clip(env[name].value, 200)}" for name in shown]
        else:
            pairs = " ".join(f"{name}={clip(env[name].value)}" for name in shown)
            lines.append(f"  {source:<12} {pairs or '–'} {rest}".rstrip())

    return lines


def hidden_lines(envs: Mapping[int, Mapping[str, EnvVar]]) -> list[str]:
    names = sorted(
        {name for env in envs.values() for name, one in env.items() if REDACTED in one.value}
    )
    return ["", f"hidden       {' '.join(names)} (redacted on the node)"] if names else []


def unread(snapshot: Snapshot) -> list[str]:
    return [
        f"not read     rank {worker.rank} on {worker.hostname}: {worker.evidence.env}"
        for worker in snapshot.workers
        if not worker.env
    ]


def clip(value: str, most: int = MAX_VALUE) -> str:
    flat = value.replace("\n", "\\n")
    return flat if len(flat) <= most else flat[: most - 1] + "…"
