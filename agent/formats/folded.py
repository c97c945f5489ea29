"""The time of all ranks as lines for flame graph tools: functions, then rank-milliseconds."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.formats import renders
from dsray_inspect.agent.report.document import Flame, FlameFrame, ReportDocument
from dsray_inspect.agent.text.style import Style

NO_STACK: Final = "no stack could be read"
_SEPARATORS: Final = str.maketrans(";\n\r", ",  ")


@renders(ReportDocument)
def render_report(document: ReportDocument, _style: Style) -> bytes:
    flame = document.flame
    lines = {_stack(stack.frames, flame): _weight(stack.weight, flame) for stack in flame.stacks}
    shown = (f"{stack} {weight}\n" for stack, weight in sorted(lines.items()) if weight)
    return "".join(shown).encode(errors="replace")


def _stack(frames: tuple[int, ...], flame: Flame) -> str:
    return ";".join(_name(flame.frames[number]) for number in frames) or NO_STACK


def _name(frame: FlameFrame) -> str:
    return f"{frame.name} ({frame.file})".translate(_SEPARATORS)


def _weight(weight: float, flame: Flame) -> int:
    """Return rank-milliseconds, or ranks: these tools read whole numbers only."""
    return round(weight * 1000) if flame.unit == "seconds" else round(weight)
