"""What the doctor prescribes, for machines that are not at hand: pure functions from facts."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from dsray_inspect.agent.doctor.fixes import fixes
from dsray_inspect.agent.doctor.probe import examine, node_access
from dsray_inspect.agent.doctor.report import (
    RUNGS,
    SYS_PTRACE,
    ClusterReport,
    Diagnosis,
    NodeAccess,
    NodeCheck,
    Problem,
    ProcessRights,
    Rung,
    summarize,
)
from dsray_inspect.agent.errors import VersionUnsupported
from dsray_inspect.agent.handles import NodeHandle
from dsray_inspect.agent.launchers.base import NodeReaderHost
from dsray_inspect.agent.launchers.ray import versions
from dsray_inspect.agent.launchers.ray.versions import Versions
from dsray_inspect.agent.model import OK
from dsray_inspect.agent.remote import doctor_probe
from dsray_inspect.agent.remote.environ import EnvironUnreadable
from dsray_inspect.agent.remote.pyspy import NEEDS_PTRACE, explain
from dsray_inspect.agent.text.doctor import diagnosis_text

EVERY_CAP = (1 << 41) - 1
DOCKERS_CAPS = 0xA80425FB
NO_MEMORY = "no ptrace right to read the process's memory"


def process(pid: int = 10, *, uid: int = 1000, caps: int = 0, **more: Any) -> ProcessRights:
    given = {
        "title": "ray::RayTrainWorker",
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
        "environ": OK,
        "sched": OK,
        "gpus": 0,
        "gpu_why": "no GPU here",
    }
    return NodeCheck(**{**whole, **changes})


def denied(**changes: Any) -> NodeCheck:
    return facts(**{"stacks": NEEDS_PTRACE, "environ": NO_MEMORY, "is_denied": True, **changes})


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
    (fix,) = fixes([node(found, **options)])
    return fix.what, "\n".join(fix.lines)


def document(text: str) -> Any:
    """Return the YAML in what is to be pasted; an empty line stands between it and the rest."""
    return yaml.safe_load(text.partition("\n\n")[0])


# The nodes


def test_a_whole_node_needs_nothing() -> None:
    whole = node(facts())
    assert fixes([whole]) == ()
    assert {name: rung.state for name, rung in whole.rungs.items()} == {
        **dict.fromkeys(RUNGS, "ok"),
        "gpu": "none",
    }
    assert summarize((whole,), None) == "All evidence sources on 1 of 1 nodes."


def test_what_a_node_lacks_decides_the_exit_code() -> None:
    def code(*nodes: NodeAccess) -> int:
        return diagnosis(*nodes).exit_code

    whole, outside, blind = node(facts()), node(denied()), node(denied(), inside="no handle")
    assert code(whole) == code(whole, outside) == code(outside) == 0
    assert code(whole, blind) == 1
    assert code(blind) == 4


def test_the_summary_says_what_follows() -> None:
    inside = summarize((node(denied()),), None)
    assert "no stacks from outside" in inside
    assert "In-process reads answer there while a rank's main thread is free." in inside

    switched_off = msgspec.structs.replace(
        node(denied()), rungs={**node(denied()).rungs, "2": Rung(state="off")}
    )
    assert "Ranks there cannot be inspected." in summarize((switched_off,), None)
    assert "Ranks there cannot be inspected." in summarize((node(denied(), inside="x"),), None)


def test_equal_advice_is_given_once() -> None:
    (fix,) = fixes([node(denied(yama=1), name=name) for name in ("node-a", "node-b")])
    assert fix.nodes == ("node-a", "node-b")


def test_a_node_that_does_not_answer() -> None:
    silent = node(None, inside="the actor did not answer within 20 s")
    (fix,) = fixes([silent])
    assert "does not answer" in fix.what
    assert silent.node_id in "\n".join(fix.lines)
    assert silent.lacks == ("1", "2", "3", "3b")


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


class CannotJoin:
    """A cluster that answers but cannot be joined."""

    def join(self) -> NodeReaderHost:
        raise VersionUnsupported("This environment cannot join it.", help_text="Use its image.")


def test_a_cluster_that_cannot_be_joined_is_a_problem() -> None:
    preflight: Any = CannotJoin()
    nodes, problem = examine(preflight, [handle()], inject=True)
    assert problem == Problem(
        exit_code=6, what="This environment cannot join it.", fix="Use its image."
    )
    assert [report.rungs["2"].state for report in nodes] == ["no"]


@pytest.mark.parametrize(
    ("theirs", "what"),
    [
        (Versions(ray="2.59.1", python="3.11.7"), "has Ray 2.59.1"),
        (Versions(ray="2.60.0", python="3.11.8"), "has Python 3.11.8"),
    ],
)
def test_other_versions_cannot_join(
    monkeypatch: pytest.MonkeyPatch, theirs: Versions, what: str
) -> None:
    ours = Versions(ray="2.60.0", python="3.11.7")
    monkeypatch.setattr(versions, "our_versions", lambda: ours)
    monkeypatch.setattr(versions, "cluster_versions", lambda _: theirs)

    with pytest.raises(VersionUnsupported, match=what):
        versions.check_versions("127.0.0.1:1")


@pytest.mark.parametrize("theirs", [Versions(ray="2.60.0", python="3.11.7"), None])
def test_equal_or_unknown_versions_may_join(
    monkeypatch: pytest.MonkeyPatch, theirs: Versions | None
) -> None:
    ours = Versions(ray="2.60.0", python="3.11.7")
    monkeypatch.setattr(versions, "our_versions", lambda: ours)
    monkeypatch.setattr(versions, "cluster_versions", lambda _: theirs)
    versions.check_versions("127.0.0.1:1")


def test_everything_is_said_in_text() -> None:
    text = diagnosis_text(diagnosis(node(facts()), node(denied(yama=1), name="node-b")))
    assert "node-b: A process may read only its own descendants" in text
    assert "ptrace_scope 1" in text
    assert "\033" not in text


# Yama


def test_yama_1_wants_the_capability_or_an_admin() -> None:
    what, lines = prescribed(denied(yama=1))
    assert "may read only its own descendants (kernel.yama.ptrace_scope=1)" in what
    assert "sysctl kernel.yama.ptrace_scope=0" in lines


def test_yama_2_wants_the_capability() -> None:
    what, _ = prescribed(denied(yama=2))
    assert "Only SYS_PTRACE may read other processes (kernel.yama.ptrace_scope=2)" in what


@pytest.mark.parametrize(("caps", "scope"), [(0, "0"), (EVERY_CAP, "1")])
def test_yama_3_lasts_until_the_machine_boots(caps: int, scope: str) -> None:
    what, lines = prescribed(denied(yama=3, me=process(uid=0, caps=caps)))
    assert "until the machine reboots (kernel.yama.ptrace_scope=3)" in what
    assert f"ptrace_scope={scope} > /etc/sysctl.d/" in lines
    assert "sysctl kernel" not in lines


# Users and rights


def test_another_user_is_told_which_to_be() -> None:
    other = denied(me=process(uid=1001), target=process(uid=1000))
    what, lines = prescribed(other)
    assert "runs as user 1001 without SYS_PTRACE, the workers as user 1000" in what
    assert "as user 1000" in lines

    _, lines = prescribed(msgspec.structs.replace(other, container="container"))
    assert lines.startswith("docker exec --user 1000 ")

    _, lines = prescribed(msgspec.structs.replace(other, container="kubernetes"))
    assert document(lines) == {"securityContext": {"runAsUser": 1000}}


def test_fewer_rights_than_ray() -> None:
    what, lines = prescribed(
        denied(me=process(uid=0, caps=DOCKERS_CAPS), target=process(uid=0, caps=EVERY_CAP))
    )
    assert "has CAP_SYS_PTRACE but dsray-inspect does not" in what
    assert "with the same user and capabilities as Ray" in lines


def test_another_user_namespace() -> None:
    what, _ = prescribed(denied(target=process(user_namespace="user:[1]")))
    assert "another user namespace" in what


def test_an_unnamed_refusal_is_not_explained_away() -> None:
    what, lines = prescribed(denied(me=process(uid=0, caps=EVERY_CAP), container="container"))
    assert "AppArmor or SELinux may be the reason" in what
    assert "apparmor=unconfined" in lines


# KubeRay


def test_a_pod_without_the_capability() -> None:
    what, lines = prescribed(denied(container="kubernetes", yama=1))
    assert "SYS_PTRACE is missing" in what
    (ray,) = document(lines)["template"]["spec"]["containers"]
    assert ray["securityContext"] == {"capabilities": {"add": ["SYS_PTRACE"]}}
    assert "RUN setcap cap_sys_ptrace+ep" in lines


def test_root_in_a_pod_needs_no_file_capability() -> None:
    root = process(uid=0, caps=DOCKERS_CAPS)
    _, lines = prescribed(denied(container="kubernetes", yama=1, me=root, target=root))
    assert document(lines)
    assert "setcap" not in lines


def test_a_pod_that_has_it_needs_it_for_the_program_only() -> None:
    user = process(cap_bounding=DOCKERS_CAPS | SYS_PTRACE)
    _, lines = prescribed(denied(container="kubernetes", yama=1, me=user))
    assert "securityContext" not in lines
    assert "RUN setcap" in lines


def test_there_is_always_something_to_paste() -> None:
    for container in ("", "container", "kubernetes"):
        for uid in (0, 1000):
            for bounding in (DOCKERS_CAPS, EVERY_CAP):
                for seccomp in (0, 2):
                    for yama in (None, 0, 1, 2, 3):
                        me = process(uid=uid, cap_bounding=bounding, seccomp=seccomp)
                        ill = denied(container=container, me=me, target=process(uid=uid), yama=yama)
                        what, lines = prescribed(ill)
                        assert what.endswith("."), what
                        assert lines.strip(), ill


def test_a_sidecar_that_does_not_share_rays_processes() -> None:
    hidden = facts(
        container="kubernetes",
        me=process(uid=1000),
        raylet=None,
        target=None,
        stacks="no process of Ray's workers can be seen from here",
        environ="no process of Ray's workers can be seen from here",
    )
    what, lines = prescribed(hidden)
    assert "another pid namespace" in what
    spec = document(lines)["template"]["spec"]
    ray, ours = spec["containers"]
    assert spec["shareProcessNamespace"] is True
    assert ours["securityContext"]["runAsUser"] == 1000
    assert ours["securityContext"]["capabilities"]["add"] == ["SYS_PTRACE"]
    assert ray["volumeMounts"] == ours["volumeMounts"] == [{"name": "ray", "mountPath": "/tmp/ray"}]
    assert spec["volumes"] == [{"name": "ray", "emptyDir": {}}]

    _, lines = prescribed(msgspec.structs.replace(hidden, container="container"))
    assert "--pid=container:RAY" in lines


def test_seccomp_in_a_pod_that_has_the_capability() -> None:
    root = process(uid=0, caps=EVERY_CAP, seccomp=2)
    what, lines = prescribed(denied(container="kubernetes", me=root, target=root))
    assert "seccomp filter" in what
    (ray,) = document(lines)["template"]["spec"]["containers"]
    assert ray["securityContext"]["seccompProfile"] == {"type": "Unconfined"}


# What is missing


def test_hidden_processes() -> None:
    ill = facts(hidepid="2", raylet=None, target=None, stacks="none seen", environ="none seen")
    what, lines = prescribed(ill)
    assert "hidepid=2" in what
    assert "hidepid=0" in lines


def test_no_worker_yet() -> None:
    what, _ = prescribed(facts(target=None, stacks="none seen", environ="none seen"))
    assert "no Python worker yet" in what


def test_no_pyspy() -> None:
    what, lines = prescribed(facts(pyspy=None, stacks="py-spy is not installed on this node"))
    assert what == "py-spy is not installed."
    assert lines == "/opt/python -m pip install py-spy"

    _, lines = prescribed(denied(pyspy=None, yama=1))
    assert lines.startswith("/opt/python -m pip install py-spy\n")


def test_a_pyspy_that_fails() -> None:
    what, lines = prescribed(facts(stacks="Error: Failed to find python version"))
    assert "Failed to find python version" in what
    assert "pip install --upgrade py-spy" in lines


def test_calls_that_do_not_arrive() -> None:
    what, lines = prescribed(facts(), inside="this Ray gives no handle: KeyError: 'x'")
    assert "this Ray gives no handle" in what
    assert "--no-inject" in lines


def test_a_kernel_without_scheduler_figures() -> None:
    what, _ = prescribed(facts(sched="/proc/3/task/3/sched cannot be read"))
    assert what.startswith("The idle time of ranks is unknown")


# GPUs


def test_slots_without_a_device() -> None:
    ill = facts(gpu_why="NVML does not answer: NVML Shared Library Not Found")
    assert fixes([node(ill)]) == ()
    what, lines = prescribed(ill, slots=4)
    assert "NVML Shared Library Not Found" in what
    assert "nvidia-smi" in lines

    _, lines = prescribed(msgspec.structs.replace(ill, container="kubernetes"), slots=4)
    spec = document(lines)["template"]["spec"]
    assert spec["runtimeClassName"] == "nvidia"
    (ray,) = spec["containers"]
    assert ray["resources"] == {"limits": {"nvidia.com/gpu": 4}}


def test_no_binding_for_nvml() -> None:
    ill = facts(gpu_why="no NVML binding on this node", lacks_nvml=True)
    assert prescribed(ill, slots=1)[1] == "/opt/python -m pip install nvidia-ml-py"


@pytest.mark.parametrize(
    ("stderr", "is_denied"),
    [("Error: Permission denied (os error 13)", True), ("Error: No such process", False)],
)
def test_a_refusal_is_told_by_its_reason(
    monkeypatch: pytest.MonkeyPatch, stderr: str, is_denied: bool
) -> None:
    def unreadable(_pid: int) -> dict[str, str]:
        raise EnvironUnreadable("its memory does not read as expected")

    monkeypatch.setattr(doctor_probe, "live_environ", unreadable)
    monkeypatch.setattr(doctor_probe, "dump", lambda *_: explain(stderr))
    assert doctor_probe.attempts([os.getpid()], "py-spy", 1.0)["is_denied"] is is_denied
