"""Runs the preflight on a cluster and all of its nodes.

It needs no job and touches none: calls are tried on the doctor's own actors, and py-spy on a worker
without stopping it. All nodes are checked concurrently, with one common deadline.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import msgspec

from dsray_inspect.agent.compat.supported import lacking
from dsray_inspect.agent.doctor.denials import beside
from dsray_inspect.agent.doctor.facts import NodeCheck
from dsray_inspect.agent.doctor.fixes import fixes
from dsray_inspect.agent.doctor.report import (
    ClusterReport,
    Diagnosis,
    Fix,
    NodeAccess,
    Problem,
    Rung,
    summarize,
)
from dsray_inspect.agent.doctor.rights import rights_of
from dsray_inspect.agent.doctor.rungs import rungs_of, silent_rungs
from dsray_inspect.agent.errors import ExitCode, InspectError
from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.launchers.base import CallFailed, NodeReaderHost
from dsray_inspect.agent.launchers.preflight import Preflight
from dsray_inspect.agent.launchers.registry import open_preflight
from dsray_inspect.agent.remote.confinement import container
from dsray_inspect.agent.remote.doctor_probe import Examiner, check, find_raylet

AGENT_S = 20.0
"""How long, at most, starting an agent on a busy node and its check may take."""
PYSPY_S = 4.0


def diagnose(address: str, found_by: str, *, inject: bool = True) -> Diagnosis:
    """Return what can be read in the cluster at `address`.

    Raises:
        ClusterUnreachable: Nothing answers there.
        PermissionMissing: It requires a token that is not available here.
    """
    with contextlib.closing(open_preflight(address)) as preflight:
        return diagnose_with(
            preflight, preflight.nodes(), address=address, found_by=found_by, inject=inject
        )


def diagnose_with(
    preflight: Preflight,
    rows: list[NodeHandle],
    *,
    address: str,
    found_by: str,
    inject: bool = True,
    limit_s: float = AGENT_S,
) -> Diagnosis:
    """Return what can be read on some nodes of a cluster, of those that answer in time."""
    taken_at, started = time.time(), time.monotonic()
    versions = preflight.versions()
    nodes, problem = examine(preflight, rows, inject=inject, limit_s=limit_s)
    return Diagnosis(
        summary=summarize(nodes, problem),
        taken_at=taken_at,
        took_s=time.monotonic() - started,
        cluster=ClusterReport(
            address=address,
            found_by=found_by,
            lacks=lacking(versions.ray or versions.our_ray),
            **msgspec.structs.asdict(versions),
        ),
        problem=problem,
        nodes=nodes,
        fixes=fixes(nodes) if problem is None else _sidecar_fixes(problem),
    )


def examine(
    preflight: Preflight, rows: list[NodeHandle], *, inject: bool, limit_s: float = AGENT_S
) -> tuple[tuple[NodeAccess, ...], Problem | None]:
    """Return what each node gives, and why the cluster cannot be joined where it cannot."""
    try:
        readers = preflight.join()
    except InspectError as error:
        why = "dsray-inspect cannot join the cluster"
        return (
            tuple(node_access(row, None, why=why) for row in rows),
            Problem(exit_code=error.exit_code, what=str(error), fix=error.help_text),
        )

    examination = _Examination(preflight, readers, rows, inject=inject, limit_s=limit_s)
    return examination.reports(), None


def _sidecar_fixes(problem: Problem) -> tuple[Fix, ...]:
    """Return how to give a container beside Ray's access to Ray's processes and network."""
    if problem.exit_code != ExitCode.NOT_FOUND or not container():
        return ()

    return (beside(container(), os.geteuid(), "If this is a container beside Ray's:"),)


class _Examination:
    """The checks of all nodes of one cluster."""

    def __init__(
        self,
        preflight: Preflight,
        readers: NodeReaderHost,
        rows: list[NodeHandle],
        *,
        inject: bool,
        limit_s: float,
    ) -> None:
        self._preflight = preflight
        self._readers = readers
        self._rows = rows
        self._inject = inject
        self._own = readers.node_id()
        self._limit_s = limit_s
        self._until = time.time() + limit_s

    def reports(self) -> tuple[NodeAccess, ...]:
        """Ask all nodes, wait until all have answered or the time is over."""
        deadline = time.monotonic() + self._limit_s
        local = {row.node_id for row in self._rows if self._is_local(row)}
        agents = {
            row.node_id: self._readers.start_reader(row.node_id, Examiner)
            for row in self._rows
            if self._inject or row.node_id not in local
        }
        checks = {
            node_id: self._readers.ask_reader(agent, "check", self._request(node_id, here=False))
            for node_id, agent in agents.items()
            if node_id not in local
        }
        answers: dict[str, Any] = {
            node_id: check(self._request(node_id, here=True)) for node_id in local
        }
        calls, refused = self._handle_calls(agents)
        tried = {**refused, **self._readers.answers(calls, deadline - time.monotonic())}
        answers |= self._readers.answers(checks, deadline - time.monotonic())
        return tuple(
            node_access(
                row,
                answers.get(row.node_id),
                seen_here=row.node_id in local,
                inside=self._in_process_rung(tried.get(row.node_id)),
                limit_s=self._limit_s,
            )
            for row in self._rows
        )

    def _is_local(self, row: NodeHandle) -> bool:
        """Return whether attaching would read this node from its own process."""
        own = next((other for other in self._rows if other.node_id == self._own), None)

        if own is None or own.ip != row.ip:
            return False

        return row.node_id == self._own or find_raylet(row.node_id) is not None

    def _request(self, node_id: str, *, here: bool) -> dict[str, Any]:
        return {"until": self._until, "node_id": node_id, "here": here, "timeout_s": PYSPY_S}

    def _handle_calls(self, agents: dict[str, Any]) -> tuple[dict[str, Any], dict[str, CallFailed]]:
        """Return the calls in flight, and the errors of those that this Ray does not allow."""
        sent: dict[str, Any] = {}
        failed: dict[str, CallFailed] = {}

        for node_id, agent in agents.items() if self._inject else ():
            try:
                sent[node_id] = self._preflight.try_in_process(agent, self._until)
            except CallFailed as error:
                failed[node_id] = error

        return sent, failed

    def _in_process_rung(self, answer: Any) -> Rung:
        """Return the rung of in-process reads from the result of a call."""
        if not self._inject:
            return Rung(state="off", why="switched off by --no-inject")

        if isinstance(answer, CallFailed):
            return Rung(state="no", why=str(answer))

        if answer is None:
            why = f"the doctor's actor did not answer within {self._limit_s:.0f} s"
            return Rung(state="no", why=why)

        return Rung(state="ok")


def node_access(
    row: NodeHandle,
    answer: Any,
    *,
    seen_here: bool = False,
    inside: Rung | None = None,
    why: str = "",
    limit_s: float = AGENT_S,
) -> NodeAccess:
    """Return one node's rungs.

    `answer` is the result of the probe there, or the reason why there is none.
    """
    facts = msgspec.convert(answer, NodeCheck) if isinstance(answer, dict) else None
    reason = why or str(answer or f"no answer within {limit_s:.0f} s")
    slots = int(row.resources.get("GPU", 0))
    blank = NodeAccess(
        node_id=row.node_id,
        ip=row.ip,
        hostname=row.hostname,
        gpu_slots=slots,
        seen_from=("here" if seen_here else "agent") if facts else "",
        rungs={},
        rights=None,
        facts=facts,
    )
    return judged(blank, inside or Rung(state="no", why=reason), reason=reason)


def judged(node: NodeAccess, inside: Rung, *, reason: str = "") -> NodeAccess:
    """Return a node with what follows from its facts; `reason` says why it has none."""
    facts, slots = node.facts, node.gpu_slots
    return msgspec.structs.replace(
        node,
        rungs=rungs_of(facts, inside, slots) if facts else silent_rungs(inside, slots, reason),
        rights=rights_of(facts) if facts else None,
    )
