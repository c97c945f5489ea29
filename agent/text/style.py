"""Colours, where they are wanted; meaning is never in the colour alone."""

from __future__ import annotations

import msgspec

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_STATE_COLORS = {
    "healthy": "green",
    "starting": "cyan",
    "finished": "cyan",
    "degraded": "yellow",
    "unknown": "yellow",
    "hung": "red",
    "failed": "red",
}


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """Wraps text in ANSI codes, or leaves it as it is."""

    color: bool = False

    def paint(self, text: str, *names: str) -> str:
        if not self.color or not names:
            return text

        return f"\033[{';'.join(_CODES[name] for name in names)}m{text}\033[0m"

    def state(self, text: str, state: str) -> str:
        return self.paint(text, "bold", _STATE_COLORS.get(state, "yellow"))


PLAIN = Style()
