"""Where a launcher's ranks are all on this machine: nothing has to be started to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsray_inspect.agent.launchers.base import CallFailed

LOOPBACK = "127.0.0.1"


class ThisMachine:
    """The readers of one machine, of which there are none; see `launchers.base.NodeReaderHost`."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id

    def node_id(self) -> str:
        return self._node_id

    def start_reader(self, node_id: str, reader_class: type) -> Any:
        raise CallFailed(f"{node_id} is not this machine")

    def ask_reader(self, reader: Any, method: str, request: dict[str, Any]) -> Any:
        raise CallFailed("this machine is read without a reader")

    def answers(self, references: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        return {}
