"""What the doctor finds on nodes that are not at hand, put together for its tests."""

from __future__ import annotations

from typing import Any

import msgspec

from dsray_inspect.agent.doctor.facts import NodeCheck, ProcessRights
from dsray_inspect.agent.doctor.fixes import fixes
from dsray_inspect.agent.doctor.probe import node_access
from dsray_inspect.agent.doctor.report import (
    ClusterReport,
    Diagnosis,
    Fix,
    NodeAccess,
    Problem,
    Rung,
    summarize,
)
from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.model import OK

EVERY_CAP = (1 << 41) - 1
DOCKERS_CAPS = 0xA80425FB
DENIED = "no ptrace access (the process has capabilities that its reader lacks)"
REFUSED = "refused (Operation not permitted)"
OUTSIDE = ("stacks", "native_stacks", "memory", "environ")


def process(pid: int = 10, *, uid: int = 1000, caps: int = 0, **more: Any) -> ProcessRights:
    given = {
        "title": "ray::RayTrainWorker",
        "gid": uid,
        "cap_effective": caps,
        "cap_permitted": caps,
        "cap_bounding": caps or DOCKERS_CAPS,
        "no_new_privs": False,
        "seccomp": 0,
        "user_namespace": "user:[4026531837]",
    }
    return ProcessRights(pid=pid, uid=uid, **{**given, **more})


def facts(**changes: Any) -> NodeCheck:
    """Return what a whole node without GPUs says; `changes` make it ill."""
    whole: dict[str, Any] = {
        "hostname": "node-a",
        "python": "/opt/python",
        "container": "",
        "me": process(1),
        "raylet": process(2, title="raylet"),
        "target": process(3),
        "yama": None,
        "hidepid": "",
        "pyspy": "/opt/py-spy",
        "pyspy_version": "0.4.3",
        "stacks": OK,
        "memory": OK,
        "environ": OK,
        "environ_at_exec": OK,
        "sched": OK,
        "gpus": 0,
        "gpu_why": "no GPU here",
    }
    return NodeCheck(**{**whole, **changes})


def denied(**changes: Any) -> NodeCheck:
    unread = dict.fromkeys(("stacks", "memory", "environ"), DENIED)
    return facts(**{**unread, "is_denied": True, **changes})


def node(
    found: NodeCheck | None, *, slots: int = 0, name: str = "node-a", inside: str = OK
) -> NodeAccess:
    row = handle(slots=slots, name=name)
    answer = msgspec.to_builtins(found) if found else None
    return node_access(
        row, answer, inside=Rung(state="ok") if inside == OK else Rung(state="no", why=inside)
    )


def handle(*, slots: int = 0, name: str = "node-a") -> NodeHandle:
    return NodeHandle(
        node_id="n" * 56, ip="10.0.0.1", hostname=name, alive=True, resources={"GPU": float(slots)}
    )


def prescribed(found: NodeCheck, **options: Any) -> tuple[str, str]:
    """Return what the only fix says is wrong, and what is to be pasted."""
    fix = only_fix(found, **options)
    return fix.what, "\n".join(fix.lines)


def only_fix(found: NodeCheck, **options: Any) -> Fix:
    (fix,) = fixes([node(found, **options)])
    return fix


def diagnosis(*nodes: NodeAccess, problem: Problem | None = None) -> Diagnosis:
    return Diagnosis(
        summary=summarize(nodes, problem),
        taken_at=0.0,
        took_s=0.1,
        cluster=cluster(),
        problem=problem,
        nodes=nodes,
        fixes=fixes(nodes),
    )


def cluster(**changes: Any) -> ClusterReport:
    given: dict[str, Any] = {
        "address": "10.0.0.1:6379",
        "found_by": "--address",
        "ray": "2.60.0",
        "python": "3.11.7",
        "our_ray": "2.60.0",
        "our_python": "3.11.7",
        "token": "",
    }
    return ClusterReport(**{**given, **changes})
