"""A job, its run, and the processes that lead it."""

from __future__ import annotations

from dsray_inspect.agent.model.record import Record


class Job(Record, frozen=True, kw_only=True):
    """One driver of a Ray job; `submission_id` is None when it was not submitted as a job."""

    submission_id: str | None
    job_id: str
    entrypoint: str
    state: str
    """RUNNING, SUCCEEDED, FAILED, STOPPED, or FINISHED where Ray does not say how."""

    @property
    def has_ended(self) -> bool:
        return self.state != "RUNNING"

    @property
    def label(self) -> str:
        """The name a user would type."""
        return self.submission_id or self.job_id


class Run(Record, frozen=True, kw_only=True):
    """One Ray Train run (`trainer.fit()`), at its present attempt."""

    id: str | None
    name: str | None
    attempt: str | None
    state: str


class Driver(Record, frozen=True, kw_only=True):
    pid: int
    node_ip: str
    waiting_on: str | None


class Controller(Record, frozen=True, kw_only=True):
    actor_id: str
    pid: int
    node_ip: str
    state: str
    waiting_on: str | None
    asked: bool = True
    """Whether it was asked; not where an option forbids it."""
