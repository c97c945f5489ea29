"""What one process may read of another, tried with processes that really have such rights."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.doctor.snippets import ALLOW_ANY
from dsray_inspect.agent.remote.pyspy import CUT_SHORT, FILE_CAPABILITIES, dump
from dsray_inspect.agent.remote.rights import SYS_PTRACE, credentials, denied_by
from tests.confined import RUNTIME_DEFAULT, confined
from tests.unit.other_processes import OTHER, RAY, needs_filters, needs_root, pyspy, run, running

READS: dict[str, Any] = {"native": False, "locals": False, "timeout_s": 20.0}
SLEEP = "import time; print('ready', flush=True); time.sleep(600)"
NOT_DUMPABLE = f"import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); {SLEEP}"
ATTEMPTS = """
import json, os, sys
from dsray_inspect.agent.remote.confinement import confinement
from dsray_inspect.agent.remote.doctor_probe import attempts
from dsray_inspect.agent.remote.rights import credentials

pid, program = int(sys.argv[1]), sys.argv[2]
found = {"me": credentials(os.getpid()), **confinement(), **attempts([pid], program, 20.0)}
print(json.dumps(found))
"""
DUMP = """
import json, sys
from dsray_inspect.agent.remote.pyspy import dump

options = {"native": True, "locals": False, "timeout_s": 20.0}
answer = dump(sys.argv[2], int(sys.argv[1]), options)
print(json.dumps({**answer, "json": answer.get("json", b"[]").decode()}))
"""
CONFINEMENT = """
import json
from dsray_inspect.agent.remote.confinement import confinement

print(json.dumps(confinement()))
"""
TRACER = """
import ctypes, sys, time
libc = ctypes.CDLL(None)
assert libc.ptrace(16, int(sys.argv[1]), None, None) == 0
print("ready", flush=True)
time.sleep(600)
"""
HOT = """
def even(n): return odd(n - 1) if n else sum(leaf(k) for k in range(3))
def odd(n): return even(n - 1) if n else [leaf(k) for k in range(3)]
def leaf(k): return k * 2
print("ready", flush=True)
while True:
    even(20), odd(20)
"""


def frames(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame for thread in json.loads(answer["json"]) for frame in thread["frames"]]


# As in a pod of the level restricted


@needs_root
@needs_filters
def test_a_restricted_pod_reads_everything_of_its_own_user() -> None:
    in_pod = confined(uid=RAY, refuse=RUNTIME_DEFAULT)

    with running(SLEEP, *in_pod) as pid:
        found = run(ATTEMPTS, pid, pyspy(), before=in_pod)
        native = run(DUMP, pid, pyspy(), before=in_pod)

    assert {found[name] for name in ("stacks", "memory", "environ", "environ_at_exec")} == {"ok"}
    assert found["is_denied"] is False
    assert found["ptrace_call"] == "ok"
    assert found["process_vm_readv_call"].startswith("refused (")
    me = found["me"]
    assert (me["uid"], me["cap_effective"], me["no_new_privs"], me["seccomp"]) == (RAY, 0, True, 2)
    assert me["cap_bounding"] == 0
    assert "note" not in native
    assert any(frame["module"] for frame in frames(native))


@needs_root
@needs_filters
def test_a_refused_ptrace_costs_native_frames_only_and_is_one_sentence() -> None:
    in_pod = confined(uid=RAY, refuse=(*RUNTIME_DEFAULT, "ptrace"))

    with running(SLEEP, *in_pod) as pid:
        found = run(ATTEMPTS, pid, pyspy(), before=in_pod)
        native = run(DUMP, pid, pyspy(), before=in_pod)

    assert {found[name] for name in ("stacks", "memory", "environ")} == {"ok"}
    assert found["ptrace_call"].startswith("refused (")
    assert native["note"] == (
        "without native frames: py-spy cannot stop the process: "
        "the seccomp filter of this container refuses ptrace"
    )
    assert [frame["name"] for frame in frames(native)] == ["<module>"]
    assert native["pause_ms"] == 0


@needs_filters
def test_a_filter_may_kill_who_makes_the_call() -> None:
    found = run(CONFINEMENT, before=confined(kill=["ptrace"]))
    assert found["ptrace_call"] == "refused (killed by signal 31)"
    assert found["process_vm_readv_call"] == "not tried"


@needs_root
def test_somebody_else_traces_it() -> None:
    with running(SLEEP) as pid, running(TRACER, argument=str(pid)) as tracer:
        answer = dump(pyspy(), pid, {**READS, "native": True})

    assert f"pid {tracer} (python" in answer["note"]
    assert answer["note"].endswith("already traces it")
    assert "json" in answer


# Who may not


def denial_of(found: dict[str, Any]) -> str:
    """Return why a reader was denied: one reason for all reads."""
    (why,) = {found[name] for name in ("stacks", "memory", "environ")}
    assert found["is_denied"] is True
    return str(why)


@needs_root
def test_another_user() -> None:
    with running(SLEEP, *confined(uid=RAY)) as pid:
        found = run(ATTEMPTS, pid, pyspy(), before=confined(uid=OTHER))

    assert denial_of(found) == (
        f"no ptrace access (the process runs as user {RAY}, its reader as user {OTHER})"
    )
    assert found["environ_at_exec"] != "ok"


@needs_root
def test_another_group() -> None:
    with running(SLEEP, *confined(uid=RAY)) as pid:
        found = run(ATTEMPTS, pid, pyspy(), before=confined(uid=RAY, gid=OTHER))

    assert f"group {RAY}, its reader as group {OTHER}" in denial_of(found)


@needs_root
def test_a_process_that_is_not_dumpable() -> None:
    with running(NOT_DUMPABLE, *confined(uid=RAY)) as pid:
        found = run(ATTEMPTS, pid, pyspy(), before=confined(uid=RAY))
        as_root = credentials(pid)

    assert found["target"]["dumpable"] is False
    assert as_root is not None
    assert as_root["dumpable"] is False
    assert "the process is not dumpable" in denial_of(found)


@needs_root
def test_nobody_is_taken_for_an_example_of_others() -> None:
    """A process may read its own memory whatever others may."""
    itself = ATTEMPTS.replace("int(sys.argv[1])", "os.getpid()")
    not_dumpable = f"import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n{itself}"
    found = run(not_dumpable, 0, pyspy(), before=confined(uid=RAY))
    assert "the process is not dumpable" in denial_of(found)


@needs_root
def test_a_process_with_more_capabilities() -> None:
    with running(SLEEP) as pid:
        found = run(ATTEMPTS, pid, pyspy(), before=confined(drop="sys_ptrace"))

    assert "the process has capabilities that its reader lacks" in denial_of(found)


def test_a_process_that_is_gone() -> None:
    with running(SLEEP) as pid:
        pass

    assert credentials(pid) is None
    assert dump(pyspy(), pid, READS)["reason"] == "not_running"


def other(**changes: Any) -> dict[str, Any]:
    given = {"uid": RAY, "gid": RAY, "cap_effective": 0, "cap_permitted": 0, "dumpable": True}
    return {**given, "user_namespace": "user:[1]", **changes}


@pytest.mark.parametrize(
    ("me", "target", "scope", "why"),
    [
        (other(), other(), 1, "Yama restricts it (kernel.yama.ptrace_scope=1)"),
        (other(cap_effective=SYS_PTRACE), other(), 3, "no process may read others"),
        (other(), other(user_namespace="user:[2]"), 0, "another user namespace"),
        (other(cap_effective=SYS_PTRACE), other(uid=0), 2, "AppArmor or SELinux"),
        (other(), other(dumpable=None), None, "AppArmor or SELinux"),
    ],
)
def test_checks_that_this_kernel_does_not_make(
    me: dict[str, Any], target: dict[str, Any], scope: int | None, why: str
) -> None:
    assert why in denied_by(me, target, scope)


def test_what_a_rank_may_run_against_yama_does_no_harm_without_yama() -> None:
    subprocess.run([sys.executable, "-c", "\n".join(ALLOW_ANY)], check=True)


# py-spy


@needs_root
def test_file_capabilities_keep_pyspy_from_starting(tmp_path: Path) -> None:
    program = tmp_path / "py-spy"
    shutil.copy(pyspy(), program)
    # Revision 2 of `struct vfs_cap_data`, with the effective flag: `setcap cap_sys_ptrace+ep`.
    flagged = struct.pack("<IIIII", 0x02000001, SYS_PTRACE, 0, 0, 0)
    os.setxattr(program, "security.capability", flagged)

    with running(SLEEP) as pid:
        before = confined(drop="sys_ptrace", no_new_privs=False)
        assert run(DUMP, pid, program, before=before)["detail"] == FILE_CAPABILITIES
        os.removexattr(program, "security.capability")
        assert run(DUMP, pid, program, before=before)["detail"] != FILE_CAPABILITIES


def test_a_stack_is_whole_or_said_to_be_cut_short() -> None:
    with running(HOT) as pid:
        answers = [dump(pyspy(), pid, READS) for _ in range(60)]

    read = [answer for answer in answers if "json" in answer]
    assert len(read) > len(answers) / 2
    cut = [answer for answer in read if frames(answer)[-1]["name"] != "<module>"]
    assert [answer for answer in cut if answer.get("note") != CUT_SHORT] == []
