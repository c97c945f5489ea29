"""The doctor's findings as records: which evidence sources each node gives, and why others fail."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from dsray_inspect.agent.errors import ExitCode

SCHEMA_VERSION: Final = 1
SYS_PTRACE: Final = 1 << 19
"""CAP_SYS_PTRACE in `/proc/PID/status` (linux/capability.h)."""

State = Literal["ok", "no", "off", "none"]
"""`off`: switched off by an option; `none`: the node has no such thing."""
RUNGS: Final = ("0", "1", "2", "3", "3b", "gpu")
LACKS: Final = {
    "0": "no Ray tables",
    "1": "no Train controller",
    "2": "no in-process reads",
    "3": "no stacks from outside",
    "3b": "no environment from outside",
}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base class of the records."""


class ProcessRights(Record, frozen=True, kw_only=True):
    """The credentials that the kernel compares when one process reads another."""

    pid: int
    title: str
    uid: int
    cap_effective: int
    cap_permitted: int
    cap_bounding: int
    no_new_privs: bool
    seccomp: int
    user_namespace: str | None

    @property
    def may_ptrace(self) -> bool:
        return bool(self.cap_effective & SYS_PTRACE)


class NodeCheck(Record, frozen=True, kw_only=True):
    """The result of `remote.doctor_probe` on a node.

    `stacks`, `environ` and `sched` are "ok" or the reason why they cannot be read.
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
    environ: str
    sched: str
    gpus: int
    gpu_why: str
    is_denied: bool = False
    """Whether the kernel refused to let a process be read."""
    lacks_nvml: bool = False
    """Whether no GPU was read for want of an NVML binding."""


class Rung(Record, frozen=True, kw_only=True):
    state: State
    why: str = ""


class NodeAccess(Record, frozen=True, kw_only=True):
    """What one node lets us read. `seen_from` is "here" if this process read it, "agent" if an actor did."""

    node_id: str
    ip: str
    hostname: str
    gpu_slots: int
    seen_from: Literal["here", "agent", ""]
    rungs: dict[str, Rung]
    facts: NodeCheck | None

    @property
    def lacks(self) -> tuple[str, ...]:
        """The rungs that fail. GPU readings are none: a rank can be inspected without them."""
        return tuple(name for name in LACKS if self.rungs[name].state == "no")

    @property
    def gives_stacks(self) -> bool:
        return any(self.rungs[name].state == "ok" for name in ("2", "3"))


class Fix(Record, frozen=True, kw_only=True):
    """One problem of some nodes: what is wrong and why, and the lines to paste."""

    nodes: tuple[str, ...]
    what: str
    lines: tuple[str, ...]


class Problem(Record, frozen=True, kw_only=True):
    """The reason why joining the cluster is impossible."""

    exit_code: int
    what: str
    fix: str


class ClusterReport(Record, frozen=True, kw_only=True):
    address: str
    found_by: str
    ray: str | None
    python: str | None
    our_ray: str
    our_python: str
    token: str
    """Where the token was found, "" if none is sent."""


class Diagnosis(Record, frozen=True, kw_only=True):
    """The document of `doctor --json`."""

    summary: str
    taken_at: float
    took_s: float
    cluster: ClusterReport
    problem: Problem | None
    nodes: tuple[NodeAccess, ...]
    fixes: tuple[Fix, ...]
    schema_version: Literal[1] = SCHEMA_VERSION

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command: every node must give stacks somehow."""
        if self.problem is not None:
            return ExitCode(self.problem.exit_code)

        without_stacks = [node for node in self.nodes if not node.gives_stacks]

        if self.nodes and len(without_stacks) == len(self.nodes):
            return ExitCode.PERMISSION

        return ExitCode.FINDINGS if without_stacks else ExitCode.OK


def summarize(nodes: tuple[NodeAccess, ...], problem: Problem | None) -> str:
    """Return the answer in brief: how many nodes give everything, and what the others lack."""
    if problem is not None:
        return problem.what

    if not nodes:
        return "The cluster has no live node."

    complete = [node for node in nodes if not node.lacks]
    parts = [f"All evidence sources on {len(complete)} of {len(nodes)} nodes."] if complete else []
    by_lack: dict[tuple[tuple[str, ...], str], list[str]] = {}

    for node in nodes:
        if node.lacks:
            by_lack.setdefault((node.lacks, _consequence(node)), []).append(node.hostname)

    for (lacks, consequence), names in by_lack.items():
        missing = " and ".join(LACKS[name] for name in lacks)
        parts.append(f"{name_list(names)}: {missing}. {consequence}".strip())

    without_gpus = [node.hostname for node in nodes if node.rungs["gpu"].state == "no"]
    parts += [f"{name_list(without_gpus)}: no GPU readings."] if without_gpus else []
    return " ".join(parts)


def _consequence(node: NodeAccess) -> str:
    if not node.gives_stacks:
        return "Ranks there cannot be inspected."

    if "3" in node.lacks:
        return "In-process reads answer there while a rank's main thread is free."

    return ""


def name_list(names: list[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
