"""What a process can tell of the pod around it."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

from dsray_inspect.agent.doctor.facts import ProcessRights
from dsray_inspect.agent.doctor.fixes import fixes
from dsray_inspect.agent.doctor.probe import node_access
from dsray_inspect.agent.doctor.report import NodeAccess, Rung
from dsray_inspect.agent.doctor.rights import NodeRights, PodSecurity, names_of, pod_security
from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.remote.rights import SYS_PTRACE
from tests.confined import RUNTIME_DEFAULT, confined
from tests.unit.other_processes import PYTHON, RAY, pyspy, run

POD = """
import json, subprocess, sys, time
from dsray_inspect.agent.compat.ray import NODE_ID_FLAG, PROCESS_TITLE, RAYLET_PROGRAM, WORKER_CLASS
from dsray_inspect.agent.remote.doctor_probe import check

WORKER = "print('ready', flush=True); import time; time.sleep(600)"
RAYLET = (
    "import subprocess, sys; "
    "subprocess.run([sys.argv[2], '-c', sys.argv[3]], executable=sys.argv[4])"
)
title, raylet = PROCESS_TITLE + WORKER_CLASS, "/ray/" + RAYLET_PROGRAM.lstrip("/")
argv = [raylet, "-c", RAYLET, NODE_ID_FLAG + "=here", title, WORKER, sys.executable]
started = subprocess.Popen(argv, executable=sys.executable, stdout=subprocess.PIPE)
started.stdout.readline()
request = {"until": time.time() + 60, "here": True, "timeout_s": 20.0}
print(json.dumps({name: check({**request, "node_id": name}) for name in ("here", "elsewhere")}))
"""
APART = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
READ_ONLY = ("sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh")


@pytest.fixture(scope="module")
def in_pod() -> dict[str, dict[str, Any]]:
    """Return what the probe finds in a pod of the level restricted, where one node's raylet is."""
    if PYTHON is None or shutil.which("unshare") is None:
        pytest.skip("makes namespaces")

    before = (*APART, *READ_ONLY, *confined(uid=RAY, refuse=RUNTIME_DEFAULT))
    path = os.pathsep.join([os.path.dirname(pyspy()), os.environ["PATH"]])
    return run(POD, before=before, PATH=path, KUBERNETES_SERVICE_HOST="10.96.0.1")


def access(answer: dict[str, Any]) -> NodeAccess:
    row = NodeHandle(node_id="n", ip="10.0.0.1", hostname="pod", alive=True, resources={})
    return node_access(row, answer, inside=Rung(state="ok"))


def test_a_restricted_pod_lacks_nothing(in_pod: dict[str, dict[str, Any]]) -> None:
    node = access(in_pod["here"])
    assert node.lacks == ()
    assert node.rungs["native_stacks"].state == "ok"
    assert node.facts is not None
    assert node.facts.target is not None
    assert node.facts.target.title == "ray::RayTrainWorker"
    assert fixes([node]) == ()
    assert node.rights == NodeRights(
        uid=RAY,
        gid=RAY,
        capabilities=(),
        no_new_privs=True,
        seccomp="filter",
        yama=node.facts.yama,
        sees_ray=True,
        shares_processes=False,
        root_read_only=True,
        security_label=node.facts.security_label,
        pod_security=PodSecurity(level="unknown", at_most="restricted", because=()),
    )


def test_a_pod_beside_rays_is_told_how_to_see_it(in_pod: dict[str, dict[str, Any]]) -> None:
    node = access(in_pod["elsewhere"])
    assert node.rights is not None
    assert node.rights.sees_ray is False
    (fix,) = fixes([node])
    assert "another pid namespace" in fix.what
    assert fix.admitted_at == "restricted"


def process(**changes: Any) -> ProcessRights:
    restricted: dict[str, Any] = {
        "pid": 1,
        "title": "python",
        "uid": RAY,
        "gid": RAY,
        "cap_effective": 0,
        "cap_permitted": 0,
        "cap_bounding": 0,
        "no_new_privs": True,
        "seccomp": 2,
        "user_namespace": None,
    }
    return ProcessRights(**{**restricted, **changes})


@pytest.mark.parametrize(
    ("changes", "level", "at_most", "because"),
    [
        ({}, "unknown", "restricted", ()),
        ({"cap_bounding": 1 << 10}, "unknown", "restricted", ()),
        ({"uid": 0}, "unknown", "baseline", ("user 0",)),
        ({"no_new_privs": False}, "unknown", "baseline", ("privilege escalation allowed",)),
        ({"seccomp": 0}, "unknown", "baseline", ("no seccomp filter",)),
        ({"cap_bounding": 0xA80425FB}, "unknown", "baseline", ("capabilities not dropped",)),
        ({"cap_bounding": SYS_PTRACE}, "privileged", "privileged", ("capabilities SYS_PTRACE",)),
        (
            {"cap_bounding": 0xA80425FB | SYS_PTRACE | 1 << 21},
            "privileged",
            "privileged",
            ("capabilities SYS_PTRACE and 1 more",),
        ),
    ],
)
def test_what_a_container_shows_of_its_pod_security_level(
    changes: dict[str, Any], level: str, at_most: str, because: tuple[str, ...]
) -> None:
    found = pod_security(process(**changes))
    assert (found.level, found.at_most, found.because) == (level, at_most, because)


def test_capabilities_have_names() -> None:
    assert names_of(0) == ()
    assert names_of(SYS_PTRACE | 1) == ("CHOWN", "SYS_PTRACE")
    assert names_of(1 << 40 | 1 << 41) == ("CHECKPOINT_RESTORE", "41")
