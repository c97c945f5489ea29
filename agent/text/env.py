"""`env` as text: what differs and should not, what is expected to differ, who set the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsray_inspect.agent.environment import Difference, differences
from dsray_inspect.agent.model import EnvSource, EnvVar, Snapshot
from dsray_inspect.agent.remote.redaction import REDACTED
from dsray_inspect.agent.text.humanize import compact, name_ranks
from dsray_inspect.agent.text.report import has_ended
from dsray_inspect.agent.text.style import PLAIN, Style
from dsray_inspect.agent.text.truncate import cut_middle, wrap

SOURCES: tuple[EnvSource, ...] = (
    "ray_train",
    "ray",
    "deepspeed",
    "runtime_env",
    "launcher",
    "user_code",
    "inherited",
)
_BRIEF_INHERITED = (
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
_MAX_VALUE = 60
_BRIEF = 24
_BETWEEN = "  "


def env_text(snapshot: Snapshot, style: Style = PLAIN, *, show_all: bool = False) -> str:
    """Return differences first, then what is the same on all ranks, by who set it."""
    envs = {worker.rank: worker.env for worker in snapshot.workers if worker.rank is not None}
    seen = {rank: env for rank, env in envs.items() if env}

    if has_ended(snapshot):
        return style.paint("The job has ended: there is no environment left to read.", "bold")

    if not snapshot.workers:
        return style.paint("There are no ranks yet, so there is no environment to read.", "bold")

    if not seen:
        return "\n".join(["No rank's environment could be read.", *_unread(snapshot)])

    found = differences(seen)
    lines = _drift_lines(found.drift, len(seen), style)
    lines += _expected_lines(found.expected, style, show_all)
    differing = {difference.name for difference in (*found.drift, *found.expected)}
    title = "same on all ranks, by who set it" if len(seen) > 1 else "by who set it"
    lines += ["", style.paint(title, "bold")]
    lines += _same_lines(next(iter(seen.values())), differing, show_all)
    lines += _hidden_lines(seen)
    return "\n".join([*lines, *_unread(snapshot)])


def _drift_lines(drift: Sequence[Difference], seen: int, style: Style) -> list[str]:
    if drift:
        head = style.paint("differs where it should not", "bold", "yellow")
        return [head, *_difference_lines(drift)]

    if seen == 1:
        return ["Only one rank was seen: nothing to compare."]

    return [f"Nothing differs that should not ({seen} ranks)."]


def _expected_lines(expected: Sequence[Difference], style: Style, show_all: bool) -> list[str]:
    if not expected:
        return []

    lines = (
        _difference_lines(expected)
        if show_all
        else wrap("  ", [_brief(difference) for difference in expected], _BETWEEN)
    )
    return ["", style.paint("differs, as expected", "bold"), *lines]


def _difference_lines(differences: Sequence[Difference]) -> list[str]:
    """Return one line per value, uncut: the variable, the ranks, the value and who set it."""
    width = max(len(difference.name) for difference in differences)
    lines = []

    for difference in differences:
        for number, value in enumerate(difference.values):
            name = difference.name if number == 0 else ""
            shown = "not set" if value.value is None else written(value.value, whole=True)
            source = f"  ({value.source})" if value.source else ""
            lines.append(f"  {name:<{width}}  {name_ranks(value.ranks)}: {shown}{source}")

    return lines


def _brief(difference: Difference) -> str:
    """Return NAME=0-7 for numbers, NAME=a,b for few short values, else how many there are."""
    values = [held.value for held in difference.values]
    known = [value for value in values if value is not None]

    if len(known) == len(values) and all(value.isdecimal() for value in known):
        joined = compact(sorted({int(value) for value in known})).replace(" ", "")
    else:
        joined = ",".join(sorted("–" if value is None else value for value in values))

    return f"{difference.name}=" + (joined if len(joined) <= _BRIEF else f"({len(values)} values)")


def _same_lines(env: Mapping[str, EnvVar], differing: set[str], show_all: bool) -> list[str]:
    lines = []

    for source in SOURCES:
        names = sorted(
            name for name, held in env.items() if held.source == source and name not in differing
        )

        if source == "launcher" and not names:  # under Ray there is none
            continue

        shown = [
            n for n in names if show_all or source != "inherited" or n.startswith(_BRIEF_INHERITED)
        ]
        pairs = [f"{name}={written(env[name].value, whole=show_all)}" for name in shown]
        head = f"  {source:<12} "

        if show_all:
            lines += [head + pair for pair in pairs]
        else:
            hidden = len(names) - len(shown)
            rest = [f"… and {hidden} more (--all)"] if hidden else []
            lines += wrap(head, [*pairs, *rest] or ["–"], _BETWEEN)

    return lines


def _hidden_lines(envs: Mapping[int, Mapping[str, EnvVar]]) -> list[str]:
    names = sorted(
        {name for env in envs.values() for name, held in env.items() if REDACTED in held.value}
    )
    return ["", *wrap("hidden         ", [*names, "(redacted on the node)"], " ")] if names else []


def _unread(snapshot: Snapshot) -> list[str]:
    """Return one line per host and reason."""
    missing: dict[tuple[str, str], list[int | None]] = {}

    for worker in snapshot.workers:
        if not worker.env:
            missing.setdefault((worker.hostname, worker.evidence.env), []).append(worker.rank)

    return [
        f"not read       {name_ranks(ranks)} on {host}: {why}"
        for (host, why), ranks in missing.items()
    ]


def written(value: str, *, whole: bool) -> str:
    """Return a value on one line, cut in its middle unless it is wanted whole."""
    flat = value.replace("\n", "\\n")
    return flat if whole else cut_middle(flat, _MAX_VALUE)
