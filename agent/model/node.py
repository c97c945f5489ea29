"""A node and its GPUs."""

from __future__ import annotations

from typing import Literal

from dsray_inspect.agent.model.record import Record


class Gpu(Record, frozen=True, kw_only=True):
    index: int
    uuid: str
    name: str
    utilization: float | None
    """Ratio 0 to 1."""
    memory_used_bytes: int | None
    memory_total_bytes: int | None = None
    pids: tuple[int, ...] = ()


class Agent(Record, frozen=True, kw_only=True):
    """Who read a node from outside the workers, and why not if nobody could."""

    state: Literal["local", "actor", "absent", "failed"]
    detail: str


class Node(Record, frozen=True, kw_only=True):
    node_id: str
    ip: str
    hostname: str
    gpus: tuple[Gpu, ...]
    agent: Agent
    alive: bool = True
