"""Ray Train's own log of a run: which pid was which rank, and what each rank failed of."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.model import Record
from dsray_inspect.agent.sampling.node_report import TrainLogMessage
from dsray_inspect.agent.sampling.observation import Observation

PLACE = re.compile(ray.GROUP_MEMBER)
SNIPPET = re.compile(ray.ERROR_SNIPPET, re.MULTILINE)


class Failure(Record, frozen=True, kw_only=True):
    """What some ranks failed of, in Ray Train's words."""

    at: float
    ranks: tuple[int, ...]
    text: str

    @property
    def last_line(self) -> str:
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


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


def failures(observation: Observation) -> list[Failure]:
    """Return what the newest group failed of, nothing when a newer one has been started."""
    last = next(iter(reversed(messages(observation))), None)

    if last is None or not last.message.startswith(ray.FAILURE_POLICY):
        return []

    return list(split(last))


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
