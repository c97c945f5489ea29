"""Libraries between a training script and torch, as far as their frames tell a phase.

They need not be installed, here or in the job; `tests/compat` looks at those that are.
"""

from __future__ import annotations

from typing import Annotated

from dsray_inspect.agent.compat.rows import Convention, FrameRule, FrameRules

VERIFIED: tuple[str, ...] = ()

FRAME_RULES: Annotated[
    tuple[FrameRule, ...], FrameRules("The phase of a rank, by its frames; the first rule counts.")
] = (
    FrameRule(
        "data",
        r"torchdata/.* accelerate/data_loader\.py webdataset/.* nvidia/dali/.*"
        r" datasets/(?:iterable|arrow)_dataset\.py litdata/.* streaming/base/.*",
    ),
    FrameRule("checkpoint", r"safetensors/.*", r"(?:save|load)\w*"),
    FrameRule(
        "checkpoint",
        r"(?:transformers|accelerate|lightning|pytorch_lightning)/.*",
        r"_?save_(?:checkpoint|state|model|pretrained) _?load_(?:from_checkpoint|state)",
    ),
)
WRAPPERS: Annotated[
    frozenset[str],
    Convention("Packages that only wrap somebody's function, which stands further in."),
] = frozenset(["tenacity", "wrapt", "decorator", "retrying", "backoff", "beartype"])
