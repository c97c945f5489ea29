"""One look: ask all rungs at once, let the outer ones step in for what does not answer.

The order is the evidence ladder's. Calls to the controller and all workers leave together;
those that are silent after `HEDGE_S` are looked at from outside (py-spy and /proc) while
their call may still answer. What did not answer is an answer too: the reason.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec

from dsray_inspect.agent.cluster.calls import CallFailed, Calls
from dsray_inspect.agent.cluster.gcs import Gcs
from dsray_inspect.agent.cluster.records import ActorRow, JobRow, NodeRow, PlacementGroupRow
from dsray_inspect.agent.cluster.train import RunActors, adapter_of, find_runs
from dsray_inspect.agent.model import Agent
from dsray_inspect.agent.onsite import node as node_read
from dsray_inspect.agent.onsite import worker as worker_read
from dsray_inspect.agent.onsite.agent import NodeAgent

HEDGE_S = 0.3
ANSWER_S = 1.5
PYSPY_S = 4.0
AGENT_START_S = 8.0


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a user wants to see, and what may be done for it."""

    inject: bool = True
    native: bool = False
    locals: bool = False
    children: bool = False
    env: bool = True
    deepspeed: bool = True
    max_pause_ms: float = 100.0

    @property
    def from_outside(self) -> bool:
        """Whether every worker must be looked at by py-spy."""
        return self.native or self.locals or self.children or not self.inject


class Answers(msgspec.Struct, kw_only=True):
    """Everything one look brought home, as it came. A `str` answer says why there is none."""

    job: JobRow
    actors: RunActors | None
    nodes: list[NodeRow]
    placement_groups: list[PlacementGroupRow]
    available: dict[str, float]
    controller: dict[str, Any] | str
    workers: dict[str, dict[str, Any] | str]
    """By actor id."""
    looks: dict[str, dict[str, Any]]
    """By node id; pid -> facts inside."""
    agents: dict[str, Agent]
    notes: list[str]
    ask: Ask
    taken_at: float
    took_s: float


class Gatherer:
    """Asks the rungs for one run. Owns the node agents; close it."""

    def __init__(self, gcs: Gcs, calls: Calls) -> None:
        self._gcs = gcs
        self._calls = calls
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="node-look")
        self._agents: dict[str, Any] = {}
        self._here = calls.node_id()

    def close(self) -> None:
        self._agents.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def look(self, job: JobRow, actors: RunActors | None, ask: Ask) -> Answers:
        """Return one look; looks once more when the worker group changed meanwhile."""
        started, taken_at = time.monotonic(), time.time()
        answers = Look(self._gcs, self._calls, self._pool, self._agents, self._here, job, actors, ask).take()

        if any_died(answers):
            job, actors = self.refresh(job, actors)
            changed = pids(actors) != pids(answers.actors)

            if changed and actors is not None and any(row.alive for row in actors.workers):
                answers = Look(
                    self._gcs, self._calls, self._pool, self._agents, self._here, job, actors, ask
                ).take()
                answers.notes.append("The worker group restarted during this look; this is the new one.")
            else:
                answers.job, answers.actors = job, actors
                answers.notes.append("The worker group ended during this look.")

        answers.taken_at, answers.took_s = taken_at, time.monotonic() - started
        return answers

    def refresh(self, job: JobRow, actors: RunActors | None) -> tuple[JobRow, RunActors | None]:
        """Read job and run again, after something died."""
        jobs = {row.job_id: row for row in self._gcs.jobs()}
        runs = find_runs(self._gcs.actors(job.job_id))

        for run in runs:
            if same_run(run, actors):
                return jobs.get(job.job_id, job), run

        return jobs.get(job.job_id, job), actors


def same_run(one: RunActors, other: RunActors | None) -> bool:
    if other is None:
        return False

    if one.controller is not None and other.controller is not None:
        return one.controller.actor_id == other.controller.actor_id

    owners = {row.owner_worker_id for row in other.workers}
    return any(row.owner_worker_id in owners for row in one.workers)


def pids(actors: RunActors | None) -> set[tuple[str, int]]:
    return {(row.node_id, row.pid) for row in actors.workers if row.alive} if actors else set()


def any_died(answers: Answers) -> bool:
    return any(
        isinstance(answer, str) and answer.startswith("the actor has died")
        for answer in (answers.controller, *answers.workers.values())
    )


class Look:
    """The state of one look while it is taken."""

    def __init__(
        self,
        gcs: Gcs,
        calls: Calls,
        pool: ThreadPoolExecutor,
        agents: dict[str, Any],
        here: str,
        job: JobRow,
        actors: RunActors | None,
        ask: Ask,
    ) -> None:
        self._calls = calls
        self._pool = pool
        self._agents = agents
        self._ask = ask
        self._nodes = {row.node_id: row for row in gcs.nodes()}
        self._here = self._nodes.get(here)
        self._workers = [row for row in actors.workers if row.alive] if actors else []
        self._controller = actors.controller if actors else None
        self._adapter = adapter_of(actors.generation) if actors else None
        self._references: dict[str, Any] = {}
        self._pending: dict[str, tuple[list[int], Any]] = {}
        waiting = self._controller is not None and not self._workers
        self._answers = Answers(
            job=job,
            actors=actors,
            nodes=list(self._nodes.values()),
            placement_groups=gcs.placement_groups(job.job_id) if waiting else [],
            available=gcs.available() if waiting else {},
            controller="not asked",
            workers={},
            looks={},
            agents={},
            notes=[],
            ask=ask,
            taken_at=0.0,
            took_s=0.0,
        )

    def take(self) -> Answers:
        self.send_calls()
        started = time.monotonic()
        self.look_outside(first=True)
        self.collect(HEDGE_S)
        self.collect_looks(wait=False)
        silent = self.silent_rows()

        if silent:
            self.look_outside(first=False, silent=silent)
            self.collect(max(0.0, ANSWER_S - (time.monotonic() - started)))

        self.collect_looks()
        self.give_up(ANSWER_S)
        return self._answers

    def send_calls(self) -> None:
        if not self._ask.inject:
            self._answers.controller = "switched off by --no-inject"
            self._answers.workers = {
                row.actor_id: "switched off by --no-inject" for row in self._workers
            }
            return

        request = {
            "until": time.time() + ANSWER_S + 1,
            "env": self._ask.env,
            "deepspeed": self._ask.deepspeed,
            "max_pause_ms": self._ask.max_pause_ms,
        }

        for row in self._workers:
            self.send(row, worker_read.look, request)

        adapter = self._adapter

        if adapter is not None and adapter.read_controller is None:
            self._answers.controller = adapter.without_controller
        elif adapter is not None and self._controller is not None and self._controller.alive:
            self.send(self._controller, adapter.read_controller, request)

    def send(self, row: ActorRow, read: Callable[..., Any] | None, request: dict[str, Any]) -> None:
        try:
            self._references[row.actor_id] = self._calls.send(row, read or worker_read.look, request)
        except CallFailed as failure:
            self.keep(row.actor_id, failure)

    def keep(self, actor_id: str, answer: Any) -> None:
        value = str(answer) if isinstance(answer, CallFailed) else answer

        if self._controller is not None and actor_id == self._controller.actor_id:
            self._answers.controller = value
        else:
            self._answers.workers[actor_id] = value

    def collect(self, timeout_s: float) -> None:
        """Take the answers that come within `timeout_s`; a stopped process is not waited for."""
        waited = {key: ref for key, ref in self._references.items() if not self.stopped(key)}
        arrived = self._calls.answers(waited, timeout_s)

        for actor_id, answer in arrived.items():
            del self._references[actor_id]
            self.keep(actor_id, answer)

    def give_up(self, waited_s: float) -> None:
        """Give every call that is still out its reason."""
        for actor_id in list(self._references):
            if self.stopped(actor_id):
                why = "the process is stopped (state T, SIGSTOP or a debugger)"
            else:
                why = f"its main thread did not answer in {waited_s:.1f} s (busy, or the GIL is held)"

            self.keep(actor_id, CallFailed(why))

    def row_of(self, actor_id: str) -> ActorRow | None:
        rows = [*self._workers, *([self._controller] if self._controller else [])]
        return next((row for row in rows if row.actor_id == actor_id), None)

    def stopped(self, actor_id: str) -> bool:
        row = self.row_of(actor_id)
        look = self._answers.looks.get(row.node_id, {}) if row else {}
        facts = look.get("processes", {}).get(row.pid, {}) if row else {}
        return bool(facts.get("state") == "stopped")

    def silent_rows(self) -> list[ActorRow]:
        """Return whoever gave no stacks so far."""
        rows = [row for row in self._workers if not has_threads(self._answers.workers.get(row.actor_id))]

        if self._controller is not None and not has_threads(self._answers.controller):
            rows.append(self._controller)

        return [row for row in rows if row.alive and row.node_id in self._nodes]

    def look_outside(self, *, first: bool, silent: list[ActorRow] | None = None) -> None:
        """Start the outside looks that are needed now: the first wave, or that for the silent."""
        for node_id, request in self.requests(first, silent or []).items():
            self.start_look(node_id, request)

    def requests(self, first: bool, silent: list[ActorRow]) -> dict[str, dict[str, Any]]:
        """Return what to ask of each node."""
        requests: dict[str, dict[str, Any]] = {}
        rows = [*self._workers, *([self._controller] if self._controller else [])]
        shown = rows if first and self._ask.from_outside else silent

        if first:
            for row in rows:
                if row.alive and (row.node_id == self.here_id() or self.has_gpus(row.node_id)):
                    self.request(requests, row.node_id)["pids"].append(row.pid)

            self.ask_driver(requests)

        for row in shown:
            request = self.request(requests, row.node_id)
            request["pids"].append(row.pid)
            request["stacks"].append(row.pid)

            if not first or not self._ask.inject:
                request["environs"].append(row.pid)

        for node_id, request in requests.items():
            request["gpus"] = first and (node_id == self.here_id() or self.has_gpus(node_id))
            request["pids"] = sorted(set(request["pids"]))

        return requests

    def ask_driver(self, requests: dict[str, dict[str, Any]]) -> None:
        job = self._answers.job

        if not job.is_dead and job.driver_node_id in self._nodes:
            request = self.request(requests, job.driver_node_id)
            request["pids"].append(job.driver_pid)
            request["stacks"].append(job.driver_pid)

    def request(self, requests: dict[str, dict[str, Any]], node_id: str) -> dict[str, Any]:
        return requests.setdefault(
            node_id,
            {
                "until": time.time() + PYSPY_S + AGENT_START_S,
                "pids": [],
                "stacks": [],
                "environs": [],
                "native": self._ask.native,
                "locals": self._ask.locals,
                "subprocesses": self._ask.children,
                "timeout_s": PYSPY_S,
                "gpus": False,
            },
        )

    def here_id(self) -> str:
        return self._here.node_id if self._here else ""

    def has_gpus(self, node_id: str) -> bool:
        node = self._nodes.get(node_id)
        return bool(node and node.resources.get("GPU"))

    def is_here(self, node_id: str, request: dict[str, Any]) -> bool:
        """Return whether a node's processes can be read from this very process.

        True for our own node, and for another raylet on the same machine, as long as the
        processes are visible: in a sidecar without a shared pid namespace they are not.
        """
        node = self._nodes.get(node_id)

        if node is None or self._here is None or node.ip != self._here.ip:
            return False

        return all(os.path.exists(f"/proc/{pid}") for pid in request["pids"])

    def start_look(self, node_id: str, request: dict[str, Any]) -> None:
        if self.is_here(node_id, request):
            self._answers.agents[node_id] = Agent(state="local", detail="read from this process")
            self.add_pending(node_id, request, self._pool.submit(node_read.look, request))
            return

        try:
            agent = self._agents.get(node_id) or self._calls.start_agent(node_id, NodeAgent)
            self._agents[node_id] = agent
            self.add_pending(node_id, request, agent.look.remote(request))
        except Exception as error:
            self._answers.agents[node_id] = Agent(state="failed", detail=str(error)[:200])

    def add_pending(self, node_id: str, request: dict[str, Any], handle: Any) -> None:
        self._pending[f"{node_id}/{len(self._pending)}"] = (request["pids"], handle)

    def collect_looks(self, *, wait: bool = True) -> None:
        """Merge the outside looks into the answers; without `wait` only those that are done."""
        for key, (_, handle) in list(self._pending.items()):
            node_id = key.partition("/")[0]

            if isinstance(handle, Future):
                if wait or handle.done():
                    self.merge(node_id, handle.result(timeout=PYSPY_S + 5))
                    del self._pending[key]
            elif wait:
                self.merge_remote(node_id, handle)
                del self._pending[key]

    def merge_remote(self, node_id: str, reference: Any) -> None:
        done = self._calls.wait([reference], AGENT_START_S)
        answer = self._calls.answer(reference) if done else None

        if answer is None or isinstance(answer, CallFailed):
            why = str(answer) if answer else f"it did not start in {AGENT_START_S:.0f} s"
            self._answers.agents[node_id] = Agent(state="failed", detail=why)
            self._agents.pop(node_id, None)
            return

        self._answers.agents[node_id] = Agent(state="actor", detail="node agent")
        self.merge(node_id, answer)

    def merge(self, node_id: str, answer: dict[str, Any]) -> None:
        known = self._answers.looks.setdefault(node_id, {"processes": {}})

        for pid, facts in answer["processes"].items():
            known["processes"].setdefault(pid, {}).update(facts)

        for key in ("hostname", "gpus", "gpu_why"):
            if key not in known or (key != "hostname" and answer["gpu_why"] != "not asked"):
                known[key] = answer[key]


def has_threads(answer: dict[str, Any] | str | None) -> bool:
    return isinstance(answer, dict) and bool(answer.get("threads"))
