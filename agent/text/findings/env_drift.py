"""Variables that are not what they should be."""

from __future__ import annotations

from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.env_drift import DriverOnlyEnv, EnvDiffers
from dsray_inspect.agent.environment import Difference
from dsray_inspect.agent.text.findings.wording import Words, words
from dsray_inspect.agent.text.humanize import agree, name_ranks, sentence


@words.register
def env_differs(facts: EnvDiffers, _detection: Detection) -> Words:
    lines = tuple(map(_variable, facts.variables))
    return Words(
        summary=f"{sentence(name_ranks(facts.odd))} {agree(facts.odd, 'has', 'have')} a different "
        f"environment: {lines[0]}.",
        evidence=lines,
    )


def _variable(difference: Difference) -> str:
    values = [
        f"{value.value if value.value is not None else 'not set'} on {name_ranks(value.ranks)}"
        for value in difference.values
    ]
    return f"{difference.name}: {', '.join(values)}"


@words.register
def driver_only_env(facts: DriverOnlyEnv, _detection: Detection) -> Words:
    first = facts.variables[0][0]
    return Words(
        summary=f"{first} is set on the driver but never reached the ranks.",
        evidence=tuple(
            f"{name}={value} on the driver, not set on any rank" for name, value in facts.variables
        ),
        next_step=f'runtime_env={{"env_vars": {{"{first}": …}}}} in ray.init or the job',
    )
