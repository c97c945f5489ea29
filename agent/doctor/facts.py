"""What the doctor's probe found on a node, as records."""

from __future__ import annotations

from typing import Literal

import msgspec

from dsray_inspect.agent.model import OK
from dsray_inspect.agent.remote.rights import SYS_PTRACE


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base class of the records."""


class ProcessRights(Record, frozen=True, kw_only=True):
    """The credentials that the kernel compares when one process reads another."""

    pid: int
    title: str
    uid: int
    gid: int
    cap_effective: int
    cap_permitted: int
    cap_bounding: int
    no_new_privs: bool
    seccomp: int
    user_namespace: str | None
    tracer: int = 0
    """The pid of the debugger that traces it, 0 for none."""
    dumpable: bool | None = None
    """Whether its own user may read it; None where /proc does not say."""

    @property
    def may_ptrace(self) -> bool:
        return bool(self.cap_effective & SYS_PTRACE)


class NodeCheck(Record, frozen=True, kw_only=True):
    """The result of `remote.doctor_probe` on a node.

    `stacks`, `memory`, `environ`, `environ_at_exec` and `sched` are "ok" or the reason why they cannot
    be read; `ptrace_call` and `process_vm_readv_call` are "ok" or how a filter refuses the call.
    """

    hostname: str
    python: str
    container: Literal["kubernetes", "container", ""]
    me: ProcessRights
    raylet: ProcessRights | None
    target: ProcessRights | None
    yama: int | None
    hidepid: str
    pyspy: str | None
    pyspy_version: str | None
    stacks: str
    memory: str
    environ: str
    environ_at_exec: str
    sched: str
    gpus: int
    gpu_why: str
    first_process: str = ""
    """The program of pid 1; "pause" in pods that share their process namespace."""
    root_read_only: bool = False
    security_label: str = ""
    """The AppArmor profile or SELinux context of the reader."""
    ptrace_call: str = OK
    process_vm_readv_call: str = OK
    pyspy_has_file_capabilities: bool = False
    """Whether somebody ran `setcap` on py-spy."""
    is_denied: bool = False
    """Whether the kernel refused to let a process be read."""
    lacks_nvml: bool = False
    """Whether no GPU was read for want of an NVML binding."""
