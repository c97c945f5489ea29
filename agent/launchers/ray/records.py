"""How a job came to be, as Ray's task events and tables tell it."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.handles import Row
from dsray_inspect.agent.launchers.start import StoreTotals


class TaskSpan(Row, frozen=True, kw_only=True):
    """One part of a task's execution: `task:deserialize_arguments`, `task:execute`, `task:store_outputs`."""

    name: str
    start_ns: int
    end_ns: int


class TaskRow(Row, frozen=True, kw_only=True):
    """One task with the times at which it came into each of Ray's states."""

    name: str
    is_creation: bool
    actor_id: str
    parent_task_id: str
    task_id: str
    states_ns: dict[str, int]
    spans: tuple[TaskSpan, ...] = ()

    def span(self, name: str) -> TaskSpan | None:
        return next((span for span in self.spans if span.name == name), None)


class ProcessTimes(Row, frozen=True, kw_only=True):
    """When the raylet launched a worker process, and when that had registered with it."""

    launched_ns: int
    registered_ns: int


class TaskHistory(Row, frozen=True, kw_only=True):
    """How a job came to be, as far as the GCS still knows; `why` says what could not be read."""

    tasks: tuple[TaskRow, ...] = ()
    processes: dict[str, ProcessTimes] = msgspec.field(default_factory=dict)
    stores: StoreTotals | None = None
    left_out: int = 0
    """Tasks of the job that were too many to be read."""
    why: str = ""
