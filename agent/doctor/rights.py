"""The rights of whoever reads a node, and what they show of the Pod Security level there.

The tables are those of https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from dsray_inspect.agent.doctor.facts import NodeCheck, ProcessRights, Record

Level = Literal["restricted", "baseline", "privileged"]
"""The levels of the Pod Security Standards, the strictest first."""
Seccomp = Literal["none", "strict", "filter"]
_SECCOMP: Final[tuple[Seccomp, ...]] = ("none", "strict", "filter")
_PAUSE: Final = "pause"
"""What runs as pid 1 in pods with `shareProcessNamespace`."""
CAPABILITIES: Final = tuple(
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE".split()
)
"""By number, as in linux/capability.h."""
_BASELINE: Final = frozenset(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT".split()
)
"""What a container may add at the level baseline."""
_GIVEN_BY_RUNTIMES: Final = frozenset(["NET_RAW"])
"""What a container may have at the level baseline, too, because runtimes give it to all."""
_RESTRICTED: Final = frozenset(["NET_BIND_SERVICE"])


class PodSecurity(Record, frozen=True, kw_only=True):
    """What a container shows of the Pod Security level of its namespace.

    `at_most` is the strictest level that admits such a container: the namespace enforces it or a looser
    one. `level` is what it enforces, known only where nothing but `privileged` is left.
    """

    level: Literal["privileged", "unknown"]
    at_most: Level
    because: tuple[str, ...]
    """What the next stricter level refuses."""


class NodeRights(Record, frozen=True, kw_only=True):
    """The rights of whoever reads a node: dsray-inspect itself, or its actor there."""

    uid: int
    gid: int
    capabilities: tuple[str, ...]
    """The names of the effective capabilities."""
    no_new_privs: bool
    seccomp: Seccomp
    yama: int | None
    """Yama's ptrace_scope; None where the kernel has no Yama."""
    sees_ray: bool
    """Whether Ray's processes are in its process namespace."""
    shares_processes: bool
    """Whether the containers of its pod share one process namespace."""
    root_read_only: bool
    security_label: str
    """The AppArmor profile or SELinux context, "" for none."""
    pod_security: PodSecurity | None
    """None outside Kubernetes."""


def rights_of(facts: NodeCheck) -> NodeRights:
    me = facts.me
    return NodeRights(
        uid=me.uid,
        gid=me.gid,
        capabilities=names_of(me.cap_effective),
        no_new_privs=me.no_new_privs,
        seccomp=_SECCOMP[me.seccomp],
        yama=facts.yama,
        sees_ray=facts.raylet is not None,
        shares_processes=facts.first_process == _PAUSE,
        root_read_only=facts.root_read_only,
        security_label=facts.security_label,
        pod_security=pod_security(me) if facts.container == "kubernetes" else None,
    )


def names_of(capabilities: int) -> tuple[str, ...]:
    """Return the names in a set of capabilities; a number for one newer than this table."""
    bits = [bit for bit in range(capabilities.bit_length()) if capabilities >> bit & 1]
    return tuple(CAPABILITIES[bit] if bit < len(CAPABILITIES) else str(bit) for bit in bits)


def pod_security(me: ProcessRights) -> PodSecurity:
    """Return what a process in a pod shows of the level that admitted it."""
    because = tuple(_refused_by_baseline(me))

    if because:
        return PodSecurity(level="privileged", at_most="privileged", because=because)

    because = tuple(_refused_by_restricted(me))
    at_most: Level = "baseline" if because else "restricted"
    return PodSecurity(level="unknown", at_most=at_most, because=because)


def _refused_by_baseline(me: ProcessRights) -> Iterator[str]:
    too_many = set(names_of(me.cap_bounding)) - _BASELINE - _GIVEN_BY_RUNTIMES

    if too_many:
        yield f"capabilities {_few(too_many)}"


def _refused_by_restricted(me: ProcessRights) -> Iterator[str]:
    if me.uid == 0:
        yield "user 0"

    if not me.no_new_privs:
        yield "privilege escalation allowed"

    if me.seccomp == 0:
        yield "no seccomp filter"

    if set(names_of(me.cap_bounding)) - _RESTRICTED:
        yield "capabilities not dropped"


def _few(names: set[str]) -> str:
    """Return the one that this is about first, and how many more there are."""
    ordered = sorted(names, key=lambda name: (name != "SYS_PTRACE", name))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} and {len(ordered) - 1} more"
