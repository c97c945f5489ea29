"""The time of all ranks as a file for https://www.speedscope.app."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.formats import renders
from dsray_inspect.agent.report.document import FlameFrame, FlameStack, ReportDocument
from dsray_inspect.agent.text.style import Style

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_NO_STACK = "no stack could be read"


@renders(ReportDocument)
def render_report(document: ReportDocument, _style: Style) -> bytes:
    flame = document.flame
    frames = [_frame(frame) for frame in flame.frames]
    unread = len(frames)
    stacks = sorted(flame.stacks, key=_order)
    verdict = document.explanation.verdict
    return msgspec.json.encode(
        {
            "$schema": _SCHEMA,
            "exporter": "dsray-inspect",
            "name": f"{document.explanation.snapshot.job.label}: {verdict.state.upper()}",
            "activeProfileIndex": 0,
            "shared": {"frames": [*frames, {"name": _NO_STACK}]},
            "profiles": [
                {
                    "type": "sampled",
                    "name": f"all ranks, {flame.unit if flame.unit == 'ranks' else 'rank-seconds'}",
                    "unit": "seconds" if flame.unit == "seconds" else "none",
                    "startValue": 0,
                    "endValue": flame.total,
                    "samples": [list(stack.frames) or [unread] for stack in stacks],
                    "weights": [stack.weight for stack in stacks],
                }
            ],
        }
    )


def _frame(frame: FlameFrame) -> dict[str, str]:
    return {"name": f"{frame.name} [{frame.layer}]", "file": frame.file}


def _order(stack: FlameStack) -> tuple[int, ...]:
    """Put equal beginnings beside one another, as speedscope merges only neighbors."""
    return stack.frames
