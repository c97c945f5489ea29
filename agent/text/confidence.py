"""Why an explanation can or cannot be relied on."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.model import Verdict

UNPROVEN: Final = "what was seen does not prove a cause"
NOT_KNOWN: Final = "what is behind it is not known"
ONE_IS_ENOUGH: Final = "one sample is enough for it"


def said_otherwise(earlier: Verdict, apart_s: float) -> str:
    return f"a sample {apart_s:.1f} s earlier said otherwise: {earlier.summary}"


def stack_changed(apart_s: float) -> str:
    return f"its stack changed within {apart_s:.1f} s: it is slow or polling"


def agreed(apart_s: float) -> str:
    return f"the same verdict in 2 samples, {apart_s:.1f} s apart"


def confirmed(apart_s: float) -> str:
    return f"the same verdict and the same stack in 2 samples, {apart_s:.1f} s apart"
