"""Maps what fails on a node to the smallest change that helps, as lines to paste."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from dsray_inspect.agent.doctor.denials import OUTSIDE, beside, denial_fix, gives
from dsray_inspect.agent.doctor.facts import NodeCheck
from dsray_inspect.agent.doctor.report import Fix, NodeAccess
from dsray_inspect.agent.doctor.rights import Level
from dsray_inspect.agent.doctor.snippets import KUBERAY_GPU, KUBERAY_SECCOMP
from dsray_inspect.agent.model import OK

_BY_PYSPY = ("stacks", "native_stacks")
_ONLY_NUMBERS = "# nothing to do if the slots are virtual (`ray start --num-gpus`)"
_FILTER = 2
"""The seccomp mode of a process under a filter."""


def fixes(nodes: Iterable[NodeAccess]) -> tuple[Fix, ...]:
    """Return the fixes, most important first; a fix for several nodes appears once."""
    found: dict[Fix, list[str]] = {}

    for node in nodes:
        for fix in _node_fixes(node):
            found.setdefault(fix, []).append(node.hostname)

    return tuple(msgspec.structs.replace(fix, nodes=tuple(names)) for fix, names in found.items())


def _node_fixes(node: NodeAccess) -> Iterator[Fix]:
    facts = node.facts

    if facts is None:
        yield _no_agent(node)
        return

    if node.rungs["in_process"].state == "no":
        yield _no_calls(node)

    if not {facts.stacks, facts.memory, facts.environ} <= {OK}:
        yield _no_outside_reads(facts)
    elif node.rungs["native_stacks"].state == "no":
        yield _no_native_stacks(facts, node.rungs["native_stacks"].why)

    if facts.sched != OK and facts.target is not None:
        yield _no_sched(facts)

    if node.rungs["gpu"].state == "no":
        yield _no_gpu(facts, node.gpu_slots)


def _fix(what: str, *lines: str) -> Fix:
    return Fix(nodes=(), what=what, lines=lines)


def _no_agent(node: NodeAccess) -> Fix:
    return _fix(
        f"The node agent does not answer: {node.rungs['stacks'].why}.",
        "ray status --verbose        # is the node alive, and does it have free memory?",
        f"ray list nodes --filter node_id={node.node_id}",
    )


def _no_calls(node: NodeAccess) -> Fix:
    return _fix(
        f"Calls into actors fail: {node.rungs['in_process'].why}.",
        "dsray-inspect attach --no-inject        # reads from outside only",
    )


def _no_outside_reads(facts: NodeCheck) -> Fix:
    """Return why processes cannot be read from outside."""
    if facts.target is None:
        return _no_target(facts)

    if facts.is_denied:
        fix = denial_fix(facts, facts.target)
        # Not now, but in the end it is needed, too.
        lines = (*_install(facts, "py-spy"), *fix.lines) if facts.pyspy is None else fix.lines
        return msgspec.structs.replace(fix, lines=lines)

    if facts.pyspy is None and facts.environ == OK:
        return _helps(facts, "py-spy is not installed.", _install(facts, "py-spy"))

    if facts.pyspy_has_file_capabilities and facts.pyspy_version is None:
        return _file_capabilities(facts)

    why = next(why for why in (facts.stacks, facts.memory, facts.environ) if why != OK)
    return _fix(
        f"Reading a worker from outside fails: {why}.", *_install(facts, "--upgrade py-spy")
    )


def _helps(
    facts: NodeCheck,
    what: str,
    lines: tuple[str, ...],
    rungs: tuple[str, ...] = _BY_PYSPY,
    level: Level = "restricted",
) -> Fix:
    """Return a fix that makes rungs work, at the Pod Security level that admits it."""
    return Fix(
        nodes=(),
        what=what,
        lines=lines,
        gives=gives(facts, rungs),
        admitted_at=level if facts.container == "kubernetes" else None,
    )


def _install(facts: NodeCheck, what: str) -> tuple[str, ...]:
    if facts.root_read_only:
        return (
            "# the root file system is read-only, so in the image's Dockerfile:",
            f"RUN python3 -m pip install {what}",
        )

    return (f"{facts.python or 'python3'} -m pip install {what}",)


def _file_capabilities(facts: NodeCheck) -> Fix:
    return _helps(
        facts,
        "py-spy does not start: its file has capabilities (setcap) that this container may not have.",
        (
            "# py-spy needs none to read processes of its own user:",
            f"setcap -r {facts.pyspy}        # or remove setcap from the image's Dockerfile",
        ),
    )


def _no_target(facts: NodeCheck) -> Fix:
    """Return why Ray's processes are not visible in /proc."""
    if facts.hidepid:
        return _fix(
            f"/proc hides other users' processes (hidepid={facts.hidepid}).",
            "# run dsray-inspect as the user who started Ray, or let an admin run:",
            "mount -o remount,hidepid=0 /proc",
        )

    if facts.raylet is not None:
        return _fix(
            "The raylet has no Python worker yet to test with.",
            "dsray-inspect doctor        # again, while a job runs",
        )

    what = "Ray's processes are in another pid namespace: this is a separate container."
    fix = beside(facts.container, facts.me.uid, what)
    # What else denies reading is seen once the processes are.
    return msgspec.structs.replace(fix, gives=() if facts.yama else gives(facts, OUTSIDE))


def _no_native_stacks(facts: NodeCheck, why: str) -> Fix:
    what = f"Native stacks cannot be had: {why}."

    if facts.ptrace_call == OK:
        return _fix(what, "# detach that debugger: a process has one tracer at a time")

    if facts.me.seccomp != _FILTER:
        return _fix(
            what, "# this kernel or sandbox, such as gVisor, has no ptrace for other processes"
        )

    if facts.container == "kubernetes":
        lines = tuple(KUBERAY_SECCOMP.split("\n"))
    elif facts.container:
        lines = (
            "docker run --security-opt seccomp=builtin …        # Docker's own profile allows it",
        )
    else:
        lines = ("# start dsray-inspect outside the service whose SystemCallFilter refuses ptrace",)

    fix = _helps(facts, what, lines)
    return msgspec.structs.replace(fix, gives=("native_stacks",))


def _no_sched(facts: NodeCheck) -> Fix:
    return _fix(
        f"The idle time of ranks is unknown: {facts.sched}.",
        "# the kernel lacks CONFIG_SCHED_DEBUG, or this is a sandbox such as gVisor",
    )


def _no_gpu(facts: NodeCheck, slots: int) -> Fix:
    what = f"Ray has GPU slots there, but no GPU can be read: {facts.gpu_why}."

    if facts.lacks_nvml:
        return _fix(what, *_install(facts, "nvidia-ml-py"))

    if facts.container == "kubernetes":
        patch = KUBERAY_GPU.replace("{slots}", str(slots))
        return _fix(what, *patch.split("\n"), _ONLY_NUMBERS)

    if facts.container:
        return _fix(
            what,
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …",
            _ONLY_NUMBERS,
        )

    return _fix(what, "nvidia-smi        # check the driver", _ONLY_NUMBERS)
