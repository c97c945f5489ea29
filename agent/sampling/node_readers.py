"""Rung 3: read processes from outside, here or through a reader on their node."""

from __future__ import annotations

import functools
import inspect
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec

from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.launchers.base import CallFailed, NodeReaderHost
from dsray_inspect.agent.model import Agent
from dsray_inspect.agent.remote.node import read_node
from dsray_inspect.agent.remote.node_agent import NodeAgent
from dsray_inspect.agent.remote.recorder_outside import LAYOUT_S
from dsray_inspect.agent.remote.run_times import run_times
from dsray_inspect.agent.sampling import recorder_trial
from dsray_inspect.agent.sampling.decode import node_report
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.unavailable import Unavailable

PYSPY_S = 4.0
LAYOUT_ALONE_S = 20.0
"""The same as `LAYOUT_S`, where nothing else can tell what ranks wait for."""
MORE_S = 12.0
"""What starting an agent (0.7 s when idle) and everything but py-spy may take on a busy machine.

A node that cannot be reached does not cost it: it is given up after a knock.
"""
RUN_TIMES_S = 0.2
AGENT_S = PYSPY_S + LAYOUT_S + MORE_S


class NodeReaders:
    """The node agents and threads of one session; close it."""

    def __init__(self, host: NodeReaderHost | Unavailable) -> None:
        self._host = host
        self._here = "" if isinstance(host, Unavailable) else host.node_id()
        self._agents: dict[str, Any] = {}
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="node-read")

    def close(self) -> None:
        self._agents.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def is_own(self, node_id: str) -> bool:
        return node_id == self._here

    def can_read(self, node: NodeHandle, nodes: dict[str, NodeHandle], pids: list[int]) -> bool:
        """Return whether a node's processes can be read from this very process.

        True for our own node, and for another raylet on the same machine, as long as its
        processes are visible: in a sidecar without a shared pid namespace they are not.
        """
        own = nodes.get(self._here)

        if own is None or node.ip != own.ip:
            return False

        return node.node_id == self._here or all(os.path.exists(f"/proc/{pid}") for pid in pids)

    def submit(self, request: dict[str, Any]) -> Future[dict[str, Any]]:
        return self._pool.submit(read_node, request)

    def ask_agent(self, node_id: str, request: dict[str, Any]) -> Any:
        """Return a reference to the answer of the node's agent, started when it is not there."""
        if isinstance(self._host, Unavailable):
            raise CallFailed(str(self._host))

        agent = self._agents.get(node_id)

        if agent is None:
            agent = self._agents[node_id] = self._host.start_reader(node_id, NodeAgent)

        return self._host.ask_reader(agent, "read", request)

    def run_times_s(
        self, watched: Mapping[str, Mapping[int, Sequence[int]]], nodes: dict[str, NodeHandle]
    ) -> dict[str, dict[int, list[float | None]]]:
        """Return how long threads have run, by node and pid; see `remote.run_times`.

        `watched` are thread ids by node and pid. No agent is started for it, and none is waited for
        longer than `RUN_TIMES_S`: what is not known is left out.
        """
        found, references = {}, {}

        for node_id, threads in watched.items():
            if self.can_read(nodes[node_id], nodes, list(threads)):
                found[node_id] = run_times(threads)
            elif node_id in self._agents and not isinstance(self._host, Unavailable):
                request = {"watched": threads}
                agent = self._agents[node_id]
                references[node_id] = self._host.ask_reader(agent, "run_times", request)

        if references and not isinstance(self._host, Unavailable):
            answers = self._host.answers(references, RUN_TIMES_S)
            found |= {
                node_id: answer["run_times_s"]
                for node_id, answer in answers.items()
                if not isinstance(answer, CallFailed)
            }

        return found

    def wait(self, reference: Any, timeout_s: float) -> Any:
        """Return an agent's answer, `CallFailed`, or None when it did not come in time."""
        if isinstance(self._host, Unavailable):
            return CallFailed(str(self._host))

        return self._host.answers({"": reference}, timeout_s).get("")

    def forget(self, node_id: str) -> None:
        self._agents.pop(node_id, None)


class ExternalReadBatch:
    """What one sample reads from outside; answers go into `observation.node_reports`."""

    def __init__(self, readers: NodeReaders, observation: Observation) -> None:
        self._readers = readers
        self._observation = observation
        self._nodes = {node.node_id: node for node in observation.nodes}
        self._local: list[tuple[str, Future[dict[str, Any]]]] = []
        self._remote: list[tuple[str, Any]] = []
        self._requests: dict[str, dict[str, Any]] = {}
        self._layout_wait_s = LAYOUT_S
        self._failed: set[str] = set()
        """The nodes that gave no answer in this sample: they are not waited for again."""

    def have_no_other_way(self) -> None:
        """Wait longer for what is read from memory: nothing runs inside these ranks."""
        self._layout_wait_s = LAYOUT_ALONE_S

    def want(
        self,
        node_id: str,
        pid: int,
        *,
        threads: bool = False,
        stack: bool = False,
        environ: bool = False,
        recorder: bool = False,
    ) -> None:
        """Have a process read at the next `start`; a stack takes its threads along."""
        request = self._request_to(node_id)

        if request is not None:
            # A second probe would find the threads that py-spy has woken: the first one counts.
            request["pids"] += [] if recorder and not (stack or threads or environ) else [pid]
            request["threads"] += [pid] if stack or threads else []
            request["stacks"] += [pid] if stack else []
            request["environs"] += [pid] if environ else []
            request["recorders"] += [pid] if recorder else []

    def want_post_mortem(self, node_id: str, ended: dict[str, Any]) -> None:
        """Have what a node keeps of ended processes read; see `remote.postmortem`."""
        request = self._request_to(node_id)

        if request is not None:
            request["ended"] = ended

    def want_logs(self, node_id: str, logs: dict[str, Any]) -> None:
        """Have the ends of workers' log files read; see `remote.log_tail`."""
        request = self._request_to(node_id)

        if request is not None:
            request["logs"] = logs

    def want_node(self, node_id: str) -> None:
        """Have what is no process's own read: GPUs, and objects on disk."""
        request = self._request_to(node_id)

        if request is not None:
            request["gpus"] = True

    def start(self) -> None:
        """Send out what was wanted since the last start."""
        requests, self._requests = self._requests, {}

        for node_id, request in requests.items():
            request["pids"] = sorted(set(request["pids"]))
            request["recorder_trial"] = _trial_source() if request["recorders"] else ""
            request["session_dir"] = self._observation.session_dirs.get(node_id, "")
            self._start(self._nodes[node_id], request)

    def take_done(self) -> None:
        """Take the reads of this machine that are done; does not wait."""
        done = [(node_id, future) for node_id, future in self._local if future.done()]
        self._local = [pair for pair in self._local if pair not in done]

        for node_id, future in done:
            self._add(node_id, future.result())

    def give_up(self, whys: Mapping[str, Unavailable]) -> None:
        """Wait no longer for the readers of these nodes, for these reasons."""
        for node_id, why in whys.items():
            self._readers.forget(node_id)
            self._fail(node_id, why.detail)

        self._remote = [pair for pair in self._remote if pair[0] not in whys]

    def take_all(self) -> None:
        """Wait for all reads; a node that does not answer is recorded as failed."""
        deadline = time.monotonic() + AGENT_S
        local_s = PYSPY_S + self._layout_wait_s + MORE_S

        for node_id, future in self._local:
            try:
                self._add(node_id, future.result(timeout=local_s))
            except TimeoutError:
                self._fail(node_id, f"reading it from here did not finish in {local_s:.0f} s")

        for node_id, reference in self._remote:
            answer = self._readers.wait(reference, deadline - time.monotonic())

            if answer is None or isinstance(answer, CallFailed):
                why = str(answer) if answer else f"no answer from its agent in {AGENT_S:.0f} s"
                self._readers.forget(node_id)
                self._fail(node_id, why)
            else:
                agent = Agent(state="actor", detail="read by a node agent")
                self._observation.agents[node_id] = agent
                self._add(node_id, answer)

        self._local, self._remote = [], []

    def _start(self, node: NodeHandle, request: dict[str, Any]) -> None:
        if self._readers.can_read(node, self._nodes, [*request["pids"], *request["recorders"]]):
            agent = Agent(state="local", detail="read from here")
            self._observation.agents[node.node_id] = agent
            self._local.append((node.node_id, self._readers.submit(request)))
            return

        try:
            self._remote.append((node.node_id, self._readers.ask_agent(node.node_id, request)))
        except Exception as error:
            self._fail(node.node_id, f"{type(error).__name__}: {error}"[:200])

    def _fail(self, node_id: str, why: str) -> None:
        self._failed.add(node_id)
        self._observation.agents[node_id] = Agent(state="failed", detail=why)

    def _add(self, node_id: str, answer: dict[str, Any]) -> None:
        try:
            report = node_report(answer, self._observation.stacks)
        except (msgspec.ValidationError, LookupError, TypeError, ValueError) as error:
            self._fail(node_id, f"its answer cannot be decoded: {error}"[:200])
            return

        before = self._observation.node_reports.get(node_id)
        self._observation.node_reports[node_id] = before.updated(report) if before else report

    def _request_to(self, node_id: str) -> dict[str, Any] | None:
        """Return the next request to a node, None where nobody could answer it."""
        node = self._nodes.get(node_id)

        if node is None or not node.alive or node_id in self._failed:
            return None

        return self._requests.setdefault(node_id, self._empty_request())

    def _empty_request(self) -> dict[str, Any]:
        request = self._observation.request
        return {
            "until": time.time() + AGENT_S + self._layout_wait_s - LAYOUT_S,
            "ended": None,
            "logs": None,
            "pids": [],
            "threads": [],
            "stacks": [],
            "environs": [],
            "recorders": [],
            "recorder_wait_s": self._layout_wait_s,
            "counters": request.counters,
            "native": request.native,
            "locals": request.locals,
            "children": request.children,
            "signals": request.inject,
            "timeout_s": PYSPY_S,
            "gpus": False,
        }


@functools.cache
def _trial_source() -> str:
    """Return the script that a node runs to find out how a torch lays out its recorder."""
    return inspect.getsource(recorder_trial)
