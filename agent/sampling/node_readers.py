"""Rung 3: look at processes from outside, here or through an agent on their node."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from dsray_inspect.agent.launchers.ray.actor_calls import ActorCalls, CallFailed
from dsray_inspect.agent.launchers.ray.records import NodeRow
from dsray_inspect.agent.model import Agent
from dsray_inspect.agent.remote.node import look
from dsray_inspect.agent.remote.node_agent import NodeAgent
from dsray_inspect.agent.sampling.observation import Observation

PYSPY_S = 4.0
LOCAL_S = PYSPY_S + 4.0
AGENT_S = PYSPY_S + 6.0
"""What starting an agent (0.7 s) and its py-spy wave may take together."""


class NodeReaders:
    """The node agents and threads of one session; close it."""

    def __init__(self, calls: ActorCalls) -> None:
        self._calls = calls
        self._here = calls.node_id()
        self._agents: dict[str, Any] = {}
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="node-look")

    def close(self) -> None:
        self._agents.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def is_own(self, node_id: str) -> bool:
        return node_id == self._here

    def can_read(self, node: NodeRow, nodes: dict[str, NodeRow], pids: list[int]) -> bool:
        """Return whether a node's processes can be read from this very process.

        True for our own node, and for another raylet on the same machine, as long as its
        processes are visible: in a sidecar without a shared pid namespace they are not.
        """
        own = nodes.get(self._here)

        if own is None or node.ip != own.ip:
            return False

        return node.node_id == self._here or all(os.path.exists(f"/proc/{pid}") for pid in pids)

    def submit(self, request: dict[str, Any]) -> Future[dict[str, Any]]:
        return self._pool.submit(look, request)

    def ask_agent(self, node_id: str, request: dict[str, Any]) -> Any:
        """Return a reference to the answer of the node's agent, started when it is not there."""
        agent = self._agents.get(node_id)

        if agent is None:
            agent = self._agents[node_id] = self._calls.start_agent(node_id, NodeAgent)

        return agent.look.remote(request)

    def wait(self, reference: Any, timeout_s: float) -> Any:
        """Return an agent's answer, `CallFailed`, or None when it did not come in time."""
        done = self._calls.wait([reference], timeout_s)
        return self._calls.answer(reference) if done else None

    def forget(self, node_id: str) -> None:
        self._agents.pop(node_id, None)


class ExternalReadBatch:
    """The outside looks of one look; answers are merged into `answers.looks`."""

    def __init__(self, outside: NodeReaders, answers: Observation) -> None:
        self._outside = outside
        self._answers = answers
        self._nodes = {node.node_id: node for node in answers.nodes}
        self._local: list[tuple[str, Future[dict[str, Any]]]] = []
        self._remote: list[tuple[str, Any]] = []
        self._requests: dict[str, dict[str, Any]] = {}

    def want(
        self,
        node_id: str,
        pid: int,
        *,
        threads: bool = False,
        stack: bool = False,
        environ: bool = False,
    ) -> None:
        """Note that a process is to be looked at, when `start` is called; a stack takes its threads."""
        node = self._nodes.get(node_id)

        if node is None or not node.alive:
            return

        request = self._requests.setdefault(node_id, self._empty())
        request["pids"].append(pid)
        request["threads"] += [pid] if stack or threads else []
        request["stacks"] += [pid] if stack else []
        request["environs"] += [pid] if environ else []

    def want_kept(self, node_id: str, kept: dict[str, Any]) -> None:
        """Note that what a node keeps of ended processes is to be read; see `remote.postmortem`."""
        node = self._nodes.get(node_id)

        if node is not None and node.alive:
            self._requests.setdefault(node_id, self._empty())["kept"] = kept

    def want_logs(self, node_id: str, logs: dict[str, Any]) -> None:
        """Note that the ends of workers' log files are to be read; see `remote.log_tail`."""
        node = self._nodes.get(node_id)

        if node is not None and node.alive:
            self._requests.setdefault(node_id, self._empty())["logs"] = logs

    def want_gpus(self, node_id: str) -> None:
        if node_id in self._requests:
            self._requests[node_id]["gpus"] = True

    def start(self) -> None:
        """Send out what was wanted since the last start."""
        requests, self._requests = self._requests, {}

        for node_id, request in requests.items():
            request["pids"] = sorted(set(request["pids"]))
            request["session_dir"] = self._answers.session_dirs.get(node_id, "")
            self._start(self._nodes[node_id], request)

    def _start(self, node: NodeRow, request: dict[str, Any]) -> None:
        if self._outside.can_read(node, self._nodes, request["pids"]):
            self._answers.agents[node.node_id] = Agent(state="local", detail="read from here")
            self._local.append((node.node_id, self._outside.submit(request)))
            return

        try:
            self._remote.append((node.node_id, self._outside.ask_agent(node.node_id, request)))
        except Exception as error:
            self._fail(node.node_id, f"{type(error).__name__}: {error}"[:200])

    def take_done(self) -> None:
        """Merge the looks at this machine that are done; does not wait."""
        done = [(node_id, future) for node_id, future in self._local if future.done()]
        self._local = [pair for pair in self._local if pair not in done]

        for node_id, future in done:
            self._merge(node_id, future.result())

    def take_all(self) -> None:
        """Wait for all looks and merge them; a node that does not answer is said to."""
        deadline = time.monotonic() + AGENT_S

        for node_id, future in self._local:
            try:
                self._merge(node_id, future.result(timeout=LOCAL_S))
            except TimeoutError:
                self._fail(node_id, f"the look from here did not end in {LOCAL_S:.0f} s")

        for node_id, reference in self._remote:
            answer = self._outside.wait(reference, deadline - time.monotonic())

            if answer is None or isinstance(answer, CallFailed):
                why = str(answer) if answer else f"no answer from its agent in {AGENT_S:.0f} s"
                self._outside.forget(node_id)
                self._fail(node_id, why)
            else:
                self._answers.agents[node_id] = Agent(state="actor", detail="read by a node agent")
                self._merge(node_id, answer)

        self._local, self._remote = [], []

    def _fail(self, node_id: str, why: str) -> None:
        self._answers.agents[node_id] = Agent(state="failed", detail=why)

    def _merge(self, node_id: str, answer: dict[str, Any]) -> None:
        known = self._answers.looks.setdefault(node_id, {"processes": {}})
        known["hostname"] = answer["hostname"]
        known["memory"], known["cpus"] = answer["memory"], answer["cpus"]
        known["spilled"] = answer["spilled"]
        known["kept"] = answer["kept"] or known.get("kept")
        known.setdefault("logs", {}).update(answer["logs"])

        for pid, facts in answer["processes"].items():
            one = known["processes"].setdefault(pid, {})

            if "dump" in one and "dump" in facts:
                one["dump_before"] = one["dump"]

            one.update(facts)

        if answer["gpu_why"] != "not asked":
            known["gpus"], known["gpu_why"] = answer["gpus"], answer["gpu_why"]

    def _empty(self) -> dict[str, Any]:
        ask = self._answers.ask
        return {
            "until": time.time() + AGENT_S,
            "kept": None,
            "logs": None,
            "pids": [],
            "threads": [],
            "stacks": [],
            "environs": [],
            "counters": ask.counters,
            "native": ask.native,
            "locals": ask.locals,
            "children": ask.children,
            "signals": ask.inject,
            "timeout_s": PYSPY_S,
            "gpus": False,
        }
