"""One thread of a process as a rank or a node reader saw it."""

from __future__ import annotations

from dsray_inspect.agent.model import Frame, Record
from dsray_inspect.agent.stacks.stack import StackInfo


class Thread(Record, frozen=True, kw_only=True):
    """One thread of a process.

    `idle_s`: seconds since the kernel last ran it (`se.exec_start` of `/proc/PID/task/TID/sched`).
    `ran_s`: CPU seconds it has had; `run_delay_s`: seconds it was ready to run and had to queue
    (`/proc/PID/task/TID/schedstat`). `owns_gil` is known from py-spy only.
    """

    name: str
    tid: int | None
    stack: StackInfo
    owns_gil: bool | None = None
    idle_s: float | None = None
    ran_s: float | None = None
    run_delay_s: float | None = None
    pid: int | None = None

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Its frames, outermost first."""
        return self.stack.frames
