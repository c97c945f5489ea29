"""Samples under the names that a public file has for them, judged with these."""

from __future__ import annotations

from typing import NamedTuple

from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.sample_chain import SampleChain
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.session import SampleFacts
from dsray_inspect.agent.startup.enrich import with_start
from dsray_inspect.agent.startup.reader import Read
from dsray_inspect.agent.text.command_hint import CommandHint


class PublicSample(NamedTuple):
    observation: Observation
    start: Read | None
    snapshot: Snapshot


class PublicChain:
    """One sample after another of one run; no name of a live verdict comes into theirs."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._chain = SampleChain(CommandHint(words=publisher.hint))

    def add(self, facts: SampleFacts) -> PublicSample:
        observation = self._publisher.observation(facts.observation)
        start = self._publisher.start(facts.start) if facts.start is not None else None
        return PublicSample(observation, start, with_start(self._chain.add(observation), start))
