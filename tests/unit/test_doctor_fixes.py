"""What the doctor prescribes: the smallest change for what a node lacks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from dsray_inspect.agent.doctor.fixes import fixes
from dsray_inspect.agent.remote.pyspy import FILE_CAPABILITIES
from dsray_inspect.agent.text.doctor import diagnosis_text
from tests.unit.node_checks import (
    DOCKERS_CAPS,
    EVERY_CAP,
    OUTSIDE,
    REFUSED,
    denied,
    diagnosis,
    facts,
    node,
    only_fix,
    prescribed,
    process,
)


def document(text: str) -> Any:
    """Return the YAML in what is to be pasted; an empty line stands between it and the rest."""
    return yaml.safe_load(text.partition("\n\n")[0])


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
