"""Takes samples of a launcher's runs; takes another where the worker group changed meanwhile."""

from __future__ import annotations

import functools
import time

from dsray_inspect.agent.handles import JobHandle, RunHandle
from dsray_inspect.agent.launchers.base import Launcher
from dsray_inspect.agent.sampling.node_readers import NodeReaders
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.sample_pass import SamplePass
from dsray_inspect.agent.sampling.session_cache import SessionCache
from dsray_inspect.agent.stacks.table import StackTable


class Sampler:
    """Takes samples of a launcher's runs; close it."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._readers = NodeReaders(launcher.node_readers())
        self._cache = SessionCache()
        self._stacks = StackTable()

    def close(self) -> None:
        self._readers.close()

    def sample(
        self, job: JobHandle, actors: RunHandle | None, request: SampleRequest
    ) -> Observation:
        """Return one sample; takes another when the worker group changed meanwhile."""
        started, taken_at = time.monotonic(), time.time()
        observation = self._take(job, actors, request)

        if observation.any_died:
            job, now = self._launcher.refresh(job, actors)

            if now is not None and living(now) and living(now) != living(observation.actors):
                observation = self._take(job, now, request)
                observation.notes.append(
                    "The worker group restarted while it was sampled; this is the new one."
                )
            else:
                observation.job, observation.actors = job, now
                observation.notes.append("Ranks ended while they were sampled.")

        observation.taken_at, observation.took_s = taken_at, time.monotonic() - started
        return observation

    def _take(
        self, job: JobHandle, actors: RunHandle | None, request: SampleRequest
    ) -> Observation:
        layout = self._launcher.layout(job, actors, helpers=request.counters)
        observation = Observation(
            job=job,
            actors=actors,
            request=request,
            stacks=self._stacks,
            nodes=layout.nodes,
            placement_groups=layout.placement_groups,
            available=layout.available,
            holders=layout.holders,
            pending=layout.pending,
            submission=layout.submission,
            helpers=layout.helpers,
            session_dirs=layout.log_folders,
            exits=layout.exits,
            notes=list(layout.notes),
        )
        reads = self._launcher.in_process(actors)
        tasks = functools.partial(self._launcher.running_tasks, job)
        SamplePass(reads, self._readers, observation, self._cache, tasks).take()
        self._cache.complete_driver(observation)
        return observation


def living(actors: RunHandle | None) -> set[tuple[str, int]]:
    """Return node and pid of each living worker."""
    return {(row.node_id, row.pid) for row in actors.workers if row.alive} if actors else set()
