"""Why the kernel denies reading a worker from outside, and the smallest change that allows it."""

from __future__ import annotations

import msgspec

from dsray_inspect.agent.doctor.facts import NodeCheck, ProcessRights
from dsray_inspect.agent.doctor.report import Fix
from dsray_inspect.agent.doctor.rights import Level
from dsray_inspect.agent.doctor.snippets import (
    ALLOW_ANY,
    KUBECTL_EXEC,
    KUBERAY_PTRACE,
    KUBERAY_UNCONFINED,
    REBOOT,
    SYSCTL,
    kuberay_sidecar,
)
from dsray_inspect.agent.model import OK
from dsray_inspect.agent.remote.rights import denying_check

OUTSIDE = ("stacks", "native_stacks", "memory", "environ")
_YAMA = {
    1: "A process may read only its own descendants",
    2: "Only SYS_PTRACE may read other processes",
    3: "No process may read others until the machine reboots",
}


def denial_fix(facts: NodeCheck, target: ProcessRights) -> Fix:
    """Return why the kernel denies reading a worker, and what would allow it."""
    me, other = msgspec.structs.asdict(facts.me), msgspec.structs.asdict(target)
    check = denying_check(me, other, facts.yama)

    if check in ("user", "group"):
        return _another_user(facts, target, check)

    return {
        "yama_off": _yama_off,
        "dumpable": _not_dumpable,
        "capabilities": _fewer_capabilities,
        "yama": _yama,
        "user_namespace": _another_namespace,
        "module": _security_module,
    }[check](facts, target)


def _allowed(
    facts: NodeCheck, what: str, lines: tuple[str, ...], level: Level = "restricted"
) -> Fix:
    """Return a fix after which the kernel allows reading, at the level that admits the change."""
    return Fix(
        nodes=(),
        what=what,
        lines=lines,
        gives=gives(facts, OUTSIDE),
        admitted_at=level if facts.container == "kubernetes" else None,
    )


def gives(facts: NodeCheck, rungs: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of some rungs work once the kernel allows reading: native ones need the call, too."""
    return tuple(name for name in rungs if name != "native_stacks" or facts.ptrace_call == OK)


def _another_user(facts: NodeCheck, target: ProcessRights, kind: str) -> Fix:
    me = facts.me
    mine, other = (me.uid, target.uid) if kind == "user" else (me.gid, target.gid)
    what = f"dsray-inspect runs as {kind} {mine}, the workers as {kind} {other}"
    level: Level = "restricted" if target.uid else "baseline"

    if not facts.yama:
        return _allowed(facts, f"{what}.", _as_user(facts, target), level)

    what = f"{what}, and Yama restricts reading (kernel.yama.ptrace_scope={facts.yama})."
    # What Yama takes is said once the user is right.
    fix = _allowed(facts, what, _as_user(facts, target), level)
    return msgspec.structs.replace(fix, gives=())


def _as_user(facts: NodeCheck, target: ProcessRights) -> tuple[str, ...]:
    if facts.container == "kubernetes":
        return (
            "# in the container of dsray-inspect, as in Ray's:",
            "securityContext:",
            f"  runAsUser: {target.uid}",
            f"  runAsGroup: {target.gid}",
        )

    if facts.container:
        return (f"docker exec --user {target.uid}:{target.gid} -it CONTAINER dsray-inspect doctor",)

    return (f"# as user {target.uid}, group {target.gid}:", "dsray-inspect doctor")


def _not_dumpable(facts: NodeCheck, target: ProcessRights) -> Fix:
    what = (
        f"{_sentence(_named(target))} is not dumpable, so only SYS_PTRACE may read it: it has changed its "
        "user, or its program may not be read or has file capabilities."
    )
    return _allowed(facts, what, _grant(facts), "privileged")


def _fewer_capabilities(facts: NodeCheck, target: ProcessRights) -> Fix:
    what = f"{_sentence(_named(target))} has capabilities that dsray-inspect lacks."
    return _allowed(facts, what, _in_rays_container(facts), "restricted")


def _another_namespace(facts: NodeCheck, target: ProcessRights) -> Fix:
    what = f"The workers are in another user namespace, so {_named(target)} cannot be read."
    return _allowed(facts, what, _in_rays_container(facts))


def _yama_off(facts: NodeCheck, _target: ProcessRights) -> Fix:
    return _allowed(facts, f"{_YAMA[3]} (kernel.yama.ptrace_scope=3).", REBOOT)


def _yama(facts: NodeCheck, _target: ProcessRights) -> Fix:
    """Return what helps against Yama: the ranks' own permission, the node's setting, a capability."""
    scope = facts.yama or 0
    what = f"{_YAMA[scope]} (kernel.yama.ptrace_scope={scope})."
    by_ranks = (
        "# the ranks can allow it themselves, in the training function; dsray-inspect does not do it for them:",
        *ALLOW_ANY,
    )
    lines = (*by_ranks, *SYSCTL) if scope == 1 else SYSCTL
    return _allowed(facts, what, (*lines, *_or_capability(facts)))


def _or_capability(facts: NodeCheck) -> tuple[str, ...]:
    if facts.container == "kubernetes":
        return ("# or SYS_PTRACE, which only the Pod Security level privileged admits:", *_pod())

    if facts.container:
        return ("# or SYS_PTRACE, in the container that Ray runs in:", *_grant(facts))

    return ("# or run dsray-inspect as root",)


def _security_module(facts: NodeCheck, target: ProcessRights) -> Fix:
    name = f" ({facts.security_label})" if facts.security_label else ""
    what = (
        f"The kernel denies reading {_named(target)}; AppArmor or SELinux{name} may be the reason."
    )

    if facts.container == "kubernetes":
        return _allowed(facts, what, tuple(KUBERAY_UNCONFINED.split("\n")), "privileged")

    lines = (
        ("docker run --security-opt apparmor=unconfined --security-opt label=disable …",)
        if facts.container
        else ("# as root:", "dmesg | grep -i denied        # which of them it was")
    )
    return _allowed(facts, what, lines)


def _in_rays_container(facts: NodeCheck) -> tuple[str, ...]:
    """Return how to have the rights that Ray's own processes have."""
    if facts.container == "kubernetes":
        return ("# in Ray's own container, as its user:", KUBECTL_EXEC)

    return ("# run dsray-inspect with the same user and capabilities as Ray, or as root",)


def _grant(facts: NodeCheck) -> tuple[str, ...]:
    """Return how to obtain SYS_PTRACE here; it reaches root only."""
    if facts.container == "kubernetes":
        return _pod()

    if facts.container:
        return (
            "docker run --user 0 --cap-add SYS_PTRACE …        # the container that Ray runs in",
        )

    return ("# run dsray-inspect as root",)


def _pod() -> tuple[str, ...]:
    return tuple(KUBERAY_PTRACE.split("\n"))


def beside(container: str, uid: int, what: str) -> Fix:
    """Return how a separate container comes to see Ray's processes and files."""
    if container == "kubernetes":
        lines = (KUBECTL_EXEC, "# or, to stay in a container of its own:", *_sidecar(uid))
        return Fix(
            nodes=(),
            what=what,
            lines=lines,
            gives=OUTSIDE,
            admitted_at="restricted" if uid else "baseline",
        )

    lines = (
        "docker exec -it RAY dsray-inspect doctor        # inside Ray's container, named RAY here",
        "# or in a second container, as Ray's user, with Ray's /tmp/ray as a volume of both:",
        "docker run --pid=container:RAY --network=container:RAY --volumes-from RAY --user USER …",
    )
    return Fix(nodes=(), what=what, lines=lines, gives=OUTSIDE)


def _sidecar(uid: int) -> tuple[str, ...]:
    return tuple(kuberay_sidecar(uid).split("\n"))


def _named(target: ProcessRights) -> str:
    return f"pid {target.pid} ({target.title})"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
