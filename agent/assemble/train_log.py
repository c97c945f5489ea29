"""Ray Train's own log of a run: which pid was which rank, what each attempt failed of, and what
Ray Train decided then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.model import Record
from dsray_inspect.agent.sampling.node_report import TrainLogMessage
from dsray_inspect.agent.sampling.observation import Observation

PLACE = re.compile(ray.GROUP_MEMBER)
SNIPPET = re.compile(ray.ERROR_SNIPPET, re.MULTILINE)
DECISION = re.compile(re.escape(ray.FAILURE_POLICY) + r" (\w+)")
SOURCE = re.compile(r"^  Source: (.+)$", re.MULTILINE)


class Failure(Record, frozen=True, kw_only=True):
    """What some ranks failed of, in Ray Train's words."""

    at: float
    ranks: tuple[int, ...]
    text: str

    @property
    def last_line(self) -> str:
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


class FailedAttempt(Record, frozen=True, kw_only=True):
    """One attempt that failed, and what Ray Train decided."""

    started_at: float | None
    """When its worker group had started; None where it had not."""
    failed_at: float
    is_retried: bool
    source: str
    """ "worker group", "controller" or "preemption"."""
    failures: tuple[Failure, ...]


def messages(observation: Observation) -> list[TrainLogMessage]:
    """Return the controller's messages, oldest first."""
    found = (
        message
        for report in observation.node_reports.values()
        if report.post_mortem is not None
        for message in report.post_mortem.train_log
    )
    return sorted(found, key=lambda message: message.at)


def ranks_of(observation: Observation) -> dict[tuple[str, int], int]:
    """Return the rank of each worker process, by ip and pid; the newest group counts."""
    return {
        (ip, int(pid)): int(rank)
        for message in messages(observation)
        for ip, pid, rank in PLACE.findall(message.message)
    }


def failed_attempts(observation: Observation) -> list[FailedAttempt]:
    """Return the attempts that failed, oldest first, as far as the log reaches back."""
    found: list[FailedAttempt] = []
    started_at = None

    for message in messages(observation):
        if not message.message.startswith(ray.FAILURE_POLICY):
            started_at = message.at
            continue

        decision, source = DECISION.match(message.message), SOURCE.search(message.message)
        found.append(
            FailedAttempt(
                started_at=started_at,
                failed_at=message.at,
                is_retried=decision is not None and decision[1] == ray.RETRY_DECISION,
                source=source[1].strip() if source else "",
                failures=tuple(split(message)),
            )
        )
        started_at = None

    return found


def last_failure(observation: Observation) -> FailedAttempt | None:
    """Return how the newest attempt failed, None where it goes on."""
    last = next(iter(reversed(messages(observation))), None)

    if last is None or not last.message.startswith(ray.FAILURE_POLICY):
        return None

    return failed_attempts(observation)[-1]


def failures(observation: Observation) -> list[Failure]:
    """Return what the run has failed of, nothing while Ray Train tries again."""
    last = last_failure(observation)
    return [] if last is None or last.is_retried else list(last.failures)


def split(message: TrainLogMessage) -> Iterable[Failure]:
    text = message.message.partition("\nError: ")[2]
    found = list(SNIPPET.finditer(text))

    if not found:
        yield Failure(at=message.at, ranks=(), text=text)

    for number, head in enumerate(found):
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        yield Failure(
            at=message.at,
            ranks=tuple(int(rank) for rank in head[1].split(",")),
            text=text[head.end() : end].strip(),
        )
