"""What the doctor prescribes, for machines that are not at hand: pure functions from facts."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from dsray_inspect.agent.doctor.facts import NodeCheck, ProcessRights
from dsray_inspect.agent.doctor.fixes import fixes
from dsray_inspect.agent.doctor.probe import examine, node_access
from dsray_inspect.agent.doctor.report import (
    RUNGS,
    ClusterReport,
    Diagnosis,
    Fix,
    NodeAccess,
    Problem,
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
from dsray_inspect.agent.remote.pyspy import FILE_CAPABILITIES, explain
from dsray_inspect.agent.text.doctor import diagnosis_text

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
        node(denied()), rungs={**node(denied()).rungs, "in_process": Rung(state="off")}
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
    assert silent.lacks == ("controller", "in_process", "stacks", "memory", "environ")
    assert silent.rights is None


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
    assert [report.rungs["in_process"].state for report in nodes] == ["no"]


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
    assert "Yama 1" in text
    assert "smallest change: gives stacks, native stacks, memory reads and the environment" in text
    assert "\033" not in text


# What each evidence source needs


@pytest.mark.parametrize(
    ("found", "works"),
    [
        (facts(), OUTSIDE),
        (facts(process_vm_readv_call=REFUSED, me=process(seccomp=2)), OUTSIDE),
        (facts(ptrace_call=REFUSED, me=process(seccomp=2)), ("stacks", "memory", "environ")),
        (facts(target=process(tracer=77)), ("stacks", "memory", "environ")),
        (facts(pyspy=None, stacks="py-spy is not installed"), ("memory", "environ")),
        (facts(environ="its environ is not set"), ("stacks", "native_stacks", "memory")),
        (denied(yama=1), ()),
    ],
)
def test_what_each_evidence_source_needs(found: NodeCheck, works: tuple[str, ...]) -> None:
    rungs = node(found).rungs
    assert tuple(name for name in OUTSIDE if rungs[name].state == "ok") == works
    assert all(rungs[name].why for name in OUTSIDE if rungs[name].state != "ok")


def test_why_native_frames_are_missing() -> None:
    filtered = facts(ptrace_call=REFUSED, me=process(seccomp=2))
    assert node(filtered).rungs["native_stacks"].why == (
        "a seccomp filter refuses ptrace, which stops the process"
    )
    sandboxed = facts(ptrace_call="refused (Function not implemented)")
    assert "the kernel refuses ptrace" in node(sandboxed).rungs["native_stacks"].why
    assert "gVisor" in prescribed(sandboxed)[1]

    traced = facts(target=process(tracer=77))
    assert node(traced).rungs["native_stacks"].why == "pid 77 already traces it"
    assert "one tracer at a time" in prescribed(traced)[1]
    assert summarize((node(filtered),), None).endswith("node-a: no native frames.")
    assert diagnosis(node(filtered)).exit_code == 0


def test_the_environment_of_the_start_is_better_than_none() -> None:
    assert (
        node(denied()).rungs["environ"].why.endswith("only the variables of its start can be read")
    )
    other = denied(environ_at_exec="/proc/3/environ cannot be read")
    assert node(other).rungs["environ"].why == DENIED


def test_the_rights_of_a_node() -> None:
    restricted = process(uid=1000, caps=0, cap_bounding=0, no_new_privs=True, seccomp=2)
    pod = facts(container="kubernetes", me=restricted, root_read_only=True, first_process="pause")
    rights = node(pod).rights
    assert rights is not None
    assert (rights.uid, rights.gid, rights.capabilities) == (1000, 1000, ())
    assert (rights.no_new_privs, rights.seccomp, rights.yama) == (True, "filter", None)
    assert (rights.sees_ray, rights.shares_processes, rights.root_read_only) == (True, True, True)
    assert rights.pod_security is not None
    assert (rights.pod_security.level, rights.pod_security.at_most) == ("unknown", "restricted")
    machine = node(facts()).rights
    assert machine is not None
    assert machine.pod_security is None

    text = diagnosis_text(diagnosis(node(pod)))
    assert "user 1000, no capabilities, no_new_privs, seccomp filter, no Yama" in text
    assert "process namespace shared by the pod, with Ray, read-only root" in text
    assert "Pod Security level unknown, at most restricted" in text


# Yama


def test_yama_1_can_be_lifted_by_the_ranks_or_an_admin() -> None:
    what, lines = prescribed(denied(yama=1))
    assert "may read only its own descendants (kernel.yama.ptrace_scope=1)" in what
    assert "prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)" in lines
    assert "sysctl kernel.yama.ptrace_scope=0" in lines
    assert "SYS_PTRACE" not in lines


def test_yama_2_wants_an_admin_or_the_capability() -> None:
    what, lines = prescribed(denied(yama=2))
    assert "Only SYS_PTRACE may read other processes (kernel.yama.ptrace_scope=2)" in what
    assert "sysctl kernel.yama.ptrace_scope=0" in lines
    assert "prctl" not in lines


def test_yama_3_lasts_until_the_machine_boots() -> None:
    what, lines = prescribed(denied(yama=3, me=process(uid=0, caps=EVERY_CAP)))
    assert "until the machine reboots (kernel.yama.ptrace_scope=3)" in what
    assert "ptrace_scope=0 > /etc/sysctl.d/" in lines
    assert "sysctl kernel" not in lines


# Users and rights


def test_another_user_is_told_which_to_be() -> None:
    other = denied(me=process(uid=1001), target=process(uid=1000))
    what, lines = prescribed(other)
    assert "runs as user 1001, the workers as user 1000" in what
    assert "as user 1000, group 1000" in lines

    _, lines = prescribed(msgspec.structs.replace(other, container="container"))
    assert lines.startswith("docker exec --user 1000:1000 ")

    _, lines = prescribed(msgspec.structs.replace(other, container="kubernetes"))
    assert document(lines) == {"securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}


def test_another_group_is_told_which_to_be() -> None:
    what, _ = prescribed(denied(me=process(gid=0), target=process(gid=100)))
    assert what == "dsray-inspect runs as group 0, the workers as group 100."


def test_the_right_user_gains_nothing_while_yama_restricts() -> None:
    other = denied(me=process(uid=1001), yama=1)
    assert "and Yama restricts reading" in only_fix(other).what
    assert only_fix(other).gives == ()


def test_fewer_rights_than_ray() -> None:
    few = denied(me=process(uid=0, caps=DOCKERS_CAPS), target=process(uid=0, caps=EVERY_CAP))
    what, lines = prescribed(few)
    assert "has capabilities that dsray-inspect lacks" in what
    assert "with the same user and capabilities as Ray" in lines

    _, lines = prescribed(msgspec.structs.replace(few, container="kubernetes"))
    assert "kubectl exec" in lines


def test_a_worker_that_is_not_dumpable() -> None:
    what, lines = prescribed(denied(target=process(dumpable=False)))
    assert "is not dumpable, so only SYS_PTRACE may read it" in what
    assert "as root" in lines


def test_another_user_namespace() -> None:
    what, _ = prescribed(denied(target=process(user_namespace="user:[1]")))
    assert "another user namespace" in what


def test_an_unnamed_refusal_is_not_explained_away() -> None:
    unnamed = denied(me=process(uid=0, caps=EVERY_CAP), container="container")
    what, lines = prescribed(unnamed)
    assert "AppArmor or SELinux may be the reason" in what
    assert "apparmor=unconfined" in lines

    labelled = msgspec.structs.replace(unnamed, security_label="docker-default (enforce)")
    assert "AppArmor or SELinux (docker-default (enforce)) may be" in prescribed(labelled)[0]


# Pods: the smallest change, and who admits it


@pytest.mark.parametrize(
    ("changes", "level", "gives"),
    [
        ({"me": process(uid=1001)}, "restricted", OUTSIDE),
        ({"me": process(uid=1001), "target": process(uid=0)}, "baseline", OUTSIDE),
        ({"me": process(gid=0)}, "restricted", OUTSIDE),
        ({"target": process(caps=DOCKERS_CAPS)}, "restricted", OUTSIDE),
        ({"yama": 1}, "restricted", OUTSIDE),
        ({"yama": 2}, "restricted", OUTSIDE),
        (
            {"yama": 1, "ptrace_call": REFUSED, "me": process(seccomp=2)},
            "restricted",
            ("stacks", "memory", "environ"),
        ),
        ({"target": process(dumpable=False)}, "privileged", OUTSIDE),
        ({}, "privileged", OUTSIDE),
    ],
)
def test_the_smallest_change_in_a_pod(
    changes: dict[str, Any], level: str, gives: tuple[str, ...]
) -> None:
    fix = only_fix(denied(container="kubernetes", **changes))
    assert (fix.admitted_at, fix.gives) == (level, gives)
    assert only_fix(denied(**changes)).admitted_at is None


def test_a_pod_is_told_of_the_capability_last() -> None:
    lines = only_fix(denied(container="kubernetes", yama=1)).lines
    text = "\n".join(lines)
    assert text.index("prctl") < text.index("sysctl") < text.index("SYS_PTRACE")
    start = next(number for number, line in enumerate(lines) if line.startswith("# RayCluster"))
    (ray,) = document("\n".join(lines[start:]))["template"]["spec"]["containers"]
    assert ray["securityContext"] == {"runAsUser": 0, "capabilities": {"add": ["SYS_PTRACE"]}}


def test_native_frames_in_a_pod_need_another_filter() -> None:
    filtered = facts(container="kubernetes", ptrace_call=REFUSED, me=process(seccomp=2))
    fix = only_fix(filtered)
    assert fix.what.startswith("Native stacks cannot be had: a seccomp filter refuses ptrace")
    assert (fix.gives, fix.admitted_at) == (("native_stacks",), "restricted")
    (ray,) = document("\n".join(fix.lines))["template"]["spec"]["containers"]
    assert ray["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    text = diagnosis_text(diagnosis(node(filtered)))
    assert (
        "smallest change: gives native stacks, admitted at the Pod Security level restricted"
        in text
    )

    docker = msgspec.structs.replace(filtered, container="container")
    assert "seccomp=builtin" in prescribed(docker)[1]
    assert "SystemCallFilter" in prescribed(msgspec.structs.replace(filtered, container=""))[1]


def test_nobody_is_told_to_give_pyspy_capabilities() -> None:
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
                        assert "setcap" not in lines


def test_a_sidecar_that_does_not_share_rays_processes() -> None:
    unseen = "no process of Ray's workers can be seen from here"
    hidden = facts(
        container="kubernetes",
        me=process(uid=1000),
        raylet=None,
        target=None,
        **dict.fromkeys(("stacks", "memory", "environ", "environ_at_exec"), unseen),
    )
    fix = only_fix(hidden)
    assert "another pid namespace" in fix.what
    assert (fix.gives, fix.admitted_at) == (OUTSIDE, "restricted")
    assert fix.lines[0].startswith("kubectl exec -it POD -c ")
    spec = document("\n".join(fix.lines[1:]))["template"]["spec"]
    ray, ours = spec["containers"]
    assert spec["shareProcessNamespace"] is True
    assert ours["securityContext"] == {
        "runAsUser": 1000,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert ray["volumeMounts"] == ours["volumeMounts"] == [{"name": "ray", "mountPath": "/tmp/ray"}]
    assert spec["volumes"] == [{"name": "ray", "emptyDir": {}}]

    restricted_by_yama = msgspec.structs.replace(hidden, yama=1)
    assert only_fix(restricted_by_yama).gives == ()

    _, lines = prescribed(msgspec.structs.replace(hidden, container="container"))
    assert "--pid=container:RAY" in lines
    assert "SYS_PTRACE" not in lines


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

    read_only = facts(pyspy=None, stacks="py-spy is not installed", root_read_only=True)
    assert "RUN python3 -m pip install py-spy" in prescribed(read_only)[1]


def test_a_pyspy_with_file_capabilities() -> None:
    broken = facts(stacks=FILE_CAPABILITIES, pyspy_version=None, pyspy_has_file_capabilities=True)
    what, lines = prescribed(broken)
    assert "capabilities (setcap) that this container may not have" in what
    assert "setcap -r /opt/py-spy" in lines


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
    monkeypatch.setattr(doctor_probe, "dump", lambda *_: explain(stderr, os.getppid()))
    assert doctor_probe.attempts([os.getpid()], "py-spy", 1.0)["is_denied"] is is_denied
