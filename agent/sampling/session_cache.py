"""What a session knows of each rank from earlier looks, so that it need not be read again."""

from __future__ import annotations

import time
from typing import Any

from dsray_inspect.agent.launchers.ray.adapters import Part
from dsray_inspect.agent.model import OK
from dsray_inspect.agent.probes.install import tidy
from dsray_inspect.agent.remote.flight_recorder import collectives
from dsray_inspect.agent.remote.startup_artifacts import keepsakes
from dsray_inspect.agent.remote.worker import counters, deepspeed, environment, process, step
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.rank_report import ENVIRONMENT, RankReport, told

DRIVER_S = 5.0
"""How old the driver's stack may be in a session that looks again and again."""


class SessionCache:
    """The engine, the step and the environment of each rank, by actor id, and the stack of
    each driver.

    Finding the engine may stop a rank for a moment, redacting its variables is the longest
    part of a look, and a py-spy for the driver the dearest; none of these changes from one
    look to the next, as a rule.
    """

    def __init__(self) -> None:
        self._engines: dict[str, dict[str, Any]] = {}
        self._environments: dict[str, tuple[int, dict[str, Any]]] = {}
        self._steps: dict[str, tuple[int, float]] = {}
        self._drivers: dict[str, tuple[float, dict[str, Any]]] = {}
        self.silent: frozenset[str] = frozenset()
        """The actors that did not answer in the last look."""

    def parts(self, actor_id: str, ask: SampleRequest) -> list[Part]:
        """Return what a rank is asked to read of itself."""
        engine: Part = step if actor_id in self._engines else deepspeed
        wanted = (
            (True, process),
            (ask.counters, counters),
            (ask.env, environment),
            (ask.deepspeed, engine),
            (ask.deepspeed, collectives),
            (ask.start, keepsakes),
            (True, tidy),
        )
        return [part for is_wanted, part in wanted if is_wanted]

    def env_state(self, actor_id: str) -> int | None:
        """Return what a rank's variables were known by; see `remote.worker.process`."""
        known = self._environments.get(actor_id)
        return known[0] if known else None

    def needs_driver(self, job_id: str, ask: SampleRequest) -> bool:
        """Return whether a job's driver must be dumped, or its stack is known from a moment ago."""
        known = self._drivers.get(job_id)
        return ask.from_outside or known is None or time.monotonic() - known[0] > DRIVER_S

    def told(self, actor_id: str, answer: dict[str, Any]) -> RankReport:
        """Return what a rank has just told: what it read anew is kept, what is known is added."""
        self._complete_engine(actor_id, answer)
        self._complete_step(actor_id, answer, time.monotonic())
        self._complete_environment(actor_id, answer)
        return told(answer)

    def complete_driver(self, answers: Observation) -> None:
        """Keep the driver's stack, or add the one that is known."""
        now = time.monotonic()
        facts = answers.process(answers.job.driver_node_id, answers.job.driver_pid)

        if "json" in facts.get("dump", {}):
            self._drivers[answers.job.job_id] = (now, facts["dump"])
        elif answers.job.job_id in self._drivers and facts and "dump" not in facts:
            facts["dump"] = self._drivers[answers.job.job_id][1]

    def _complete_engine(self, actor_id: str, answer: dict[str, Any]) -> None:
        if answer.get("deepspeed") is not None:
            self._engines[actor_id] = answer["deepspeed"]
        elif "deepspeed" in answer and actor_id in self._engines:
            answer["deepspeed"], answer["deepspeed_why"] = self._engines[actor_id], OK

    def _complete_step(self, actor_id: str, answer: dict[str, Any], now: float) -> None:
        """Keep the step; a rank that has not run since it was read is still at it."""
        if answer.get("step") is not None:
            self._steps[actor_id] = (answer["step"], now)
        elif "step" in answer and actor_id in self._steps:
            step, read_at = self._steps[actor_id]
            idle_s = [thread["idle_s"] for thread in answer.get("threads", ())]

            if all(one is not None and one > now - read_at for one in idle_s):
                answer["step"] = step

    def _complete_environment(self, actor_id: str, answer: dict[str, Any]) -> None:
        if "env" in answer:
            read = {name: answer[name] for name in ENVIRONMENT}
            self._environments[actor_id] = (answer["env_state"], read)
        elif "environment" in answer.get("unchanged", ()):
            answer.update(self._environments[actor_id][1])
