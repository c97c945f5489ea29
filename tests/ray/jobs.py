"""Jobs under test: how far each rank is, and what became of them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.ray import processes

TERMINAL = ("SUCCEEDED", "FAILED", "STOPPED")
ASK_EVERY_S = 2.0
"""How often a job is asked whether it has ended, while a test waits for something else."""


class Step(NamedTuple):
    """One line of a rank's log."""

    step: int
    loss: float
    at: float
    pid: int


class Actor(NamedTuple):
    """One live actor of a job; the pid is the one that its host knows."""

    pid: int
    node_id: str


class Ranks:
    """The steps that the ranks of a job write down under its folder."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def ended(self) -> str | None:
        """Return why no more steps will come, or None while the job lives."""
        raise NotImplementedError

    def ranks(self) -> list[int]:
        """Return the ranks that have begun to train."""
        return sorted(int(path.stem.removeprefix("rank")) for path in self.out.glob("rank*.log"))

    def steps(self, rank: int) -> list[Step]:
        """Return the complete lines of a rank's log; a restarted group appends to the same log."""
        path = self.out / f"rank{rank}.log"
        if not path.exists():
            return []
        lines = path.read_text().split("\n")[:-1]
        rows = [line.split() for line in lines]
        return [Step(int(a), float(b), float(c), int(d)) for a, b, c, d in rows]

    def pids(self) -> dict[int, int]:
        """Return the worker process of each rank that has made a step, of the newest attempt."""
        return {rank: rows[-1].pid for rank in self.ranks() if (rows := self.steps(rank))}

    def wait_for(
        self,
        what: str,
        probe: Callable[[], Any],
        *,
        timeout: float = processes.START_LIMIT_S,
        every: float = 0.25,
    ) -> Any:
        """Wait for the probe, and give up when the job ends before it comes true."""
        asked_at = 0.0

        def probe_or_give_up() -> Any:
            nonlocal asked_at
            ended = None
            # The dashboard needs the CPU that the job starts with, so it is not asked each time.
            if time.monotonic() - asked_at > ASK_EVERY_S:
                ended = self.ended()
                asked_at = time.monotonic()
            answer = probe()
            if not answer and ended:
                raise processes.Unmet(f"the job ended before {what}: {ended}")
            return answer

        return processes.wait_for(what, probe_or_give_up, timeout=timeout, every=every)

    def wait_until_step(
        self, rank: int, step: int, *, timeout: float = processes.START_LIMIT_S
    ) -> Step:
        """Wait until the rank has finished the step, in any attempt."""

        def reached() -> Step | None:
            return next((row for row in self.steps(rank) if row.step >= step), None)

        row: Step = self.wait_for(f"rank {rank} finishes step {step}", reached, timeout=timeout)
        return row

    def wait_until_stuck(
        self,
        *,
        after_step: int = 0,
        ranks: int = 2,
        quiet_s: float = 1.5,
        timeout: float = processes.START_LIMIT_S,
    ) -> None:
        """Wait until every rank has finished the step and none has finished another for a while."""
        for rank in range(ranks):
            self.wait_until_step(rank, after_step, timeout=timeout)
        seen: tuple[float, list[int]] = (time.monotonic(), [])

        def quiet() -> bool:
            nonlocal seen
            counts = [len(self.steps(rank)) for rank in range(ranks)]
            if counts != seen[1]:
                seen = (time.monotonic(), counts)
            return time.monotonic() - seen[0] >= quiet_s

        self.wait_for("the ranks stand still", quiet, timeout=timeout)

    def assert_moving(self, *, ranks: int = 2, timeout: float = 60.0) -> None:
        """Fail unless every rank finishes another step from now on."""
        for rank in range(ranks):
            done = len(self.steps(rank))
            more = functools.partial(self._has_more, rank, done)
            self.wait_for(f"another step of rank {rank}", more, timeout=timeout)

    def _has_more(self, rank: int, than: int) -> bool:
        return len(self.steps(rank)) > than


class Job(Ranks):
    """A job that was given to a cluster by `ray job submit`, at `submitted_at` (Unix seconds)."""

    def __init__(
        self,
        submission_id: str,
        out: Path,
        call: Callable[[str, str], Any],
        *,
        submitted_at: float,
    ) -> None:
        super().__init__(out)
        self.submission_id = submission_id
        self.submitted_at = submitted_at
        self._call = call

    def __repr__(self) -> str:
        return f"Job({self.submission_id!r})"

    def run(self, number: int) -> Job:
        """Return the job seen as one of its `--runs`."""
        out = self.out / f"run{number}"
        return Job(self.submission_id, out, self._call, submitted_at=self.submitted_at)

    def details(self) -> dict[str, Any]:
        """Return what the dashboard knows of the job: status, driver, runtime_env."""
        answer = self._call("GET", f"/api/jobs/{self.submission_id}")
        return answer if isinstance(answer, dict) else {}

    def actors(self, class_name: str = "RayTrainWorker") -> list[Actor]:
        """Return the job's live actors of the class.

        Their process titles would not tell: while a task runs, the title is the task's name.
        """
        job_id = self.details().get("job_id")
        query = f"filter_keys=job_id&filter_predicates=%3D&filter_values={job_id}"
        answer = self._call("GET", f"/api/v0/actors?limit=10000&{query}") if job_id else None
        rows = answer["data"]["result"]["result"] if isinstance(answer, dict) else []
        return sorted(
            Actor(row["pid"], row["node_id"])
            for row in rows
            if row["class_name"] == class_name and row["state"] == "ALIVE"
        )

    def status(self) -> str:
        """Return PENDING, RUNNING, or how it ended."""
        return str(self.details().get("status", "UNKNOWN"))

    def logs(self, lines: int = 60) -> str:
        """Return the tail of the driver's log."""
        answer = self._call("GET", f"/api/jobs/{self.submission_id}/logs")
        text = answer.get("logs", "") if isinstance(answer, dict) else ""
        return "\n".join(text.splitlines()[-lines:])

    def ended(self) -> str | None:
        """Return how the job ended, with the tail of its log, or None while it runs."""
        status = self.status()
        return f"{status}\n{self.logs()}" if status in TERMINAL else None

    def wait_until_ended(self, *, timeout: float = processes.START_LIMIT_S) -> str:
        """Wait for the job's end and return its status."""

        def status() -> str | None:
            now = self.status()
            return now if now in TERMINAL else None

        answer = processes.wait_for(f"{self} to end", status, timeout=timeout, every=0.25)
        assert answer is not None
        return answer

    def stop(self, *, timeout: float = 60.0) -> str:
        """Stop the job as a user would, and wait until it is over."""
        if self.status() not in TERMINAL:
            self._call("POST", f"/api/jobs/{self.submission_id}/stop")
        return self.wait_until_ended(timeout=timeout)
