"""All dashboards, in the order in which one opens them."""

from __future__ import annotations

from typing import Final

from dsray_inspect.dashboards import agent, hardware, incident, startup, training
from dsray_inspect.dashboards.model import Board

BOARDS: Final[tuple[Board, ...]] = (
    incident.BOARD,
    training.BOARD,
    startup.BOARD,
    hardware.BOARD,
    agent.BOARD,
)
