"""The doctor's findings as records: which evidence sources each node gives, and why others fail."""

from __future__ import annotations

from typing import Final, Literal

from dsray_inspect.agent.doctor.facts import NodeCheck, Record
from dsray_inspect.agent.doctor.rights import Level, NodeRights
from dsray_inspect.agent.errors import ExitCode

SCHEMA_VERSION: Final = 1
State = Literal["ok", "no", "off", "none"]
"""`off`: switched off by an option; `none`: the node has no such thing."""
RUNGS: Final = (
    "gcs",
    "controller",
    "in_process",
    "stacks",
    "native_stacks",
    "memory",
    "environ",
    "gpu",
)
LACKS: Final = {
    "gcs": "no Ray tables",
    "controller": "no Train controller",
    "in_process": "no in-process reads",
    "stacks": "no stacks from outside",
    "memory": "no memory reads",
    "environ": "no environment from outside",
}


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
    rights: NodeRights | None
    facts: NodeCheck | None

    @property
    def lacks(self) -> tuple[str, ...]:
        """The rungs that fail. GPU readings and native frames are none: a rank is inspected without them."""
        return tuple(name for name in LACKS if self.rungs[name].state == "no")

    @property
    def lacks_native_frames(self) -> bool:
        """Whether stacks are read from outside, but without their native frames."""
        return self.rungs["stacks"].state == "ok" and self.rungs["native_stacks"].state == "no"

    @property
    def gives_stacks(self) -> bool:
        return any(self.rungs[name].state == "ok" for name in ("in_process", "stacks"))


class Fix(Record, frozen=True, kw_only=True):
    """One problem of some nodes: what is wrong and why, and the smallest change that helps.

    `gives` names the rungs that work with it; `admitted_at` is the strictest Pod Security level that
    admits it, and None outside pods and where nothing of the pod changes.
    """

    nodes: tuple[str, ...]
    what: str
    lines: tuple[str, ...]
    gives: tuple[str, ...] = ()
    admitted_at: Level | None = None


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
    lacks: tuple[str, ...] = ()
    """What this version of Ray is known not to give."""


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
        missing = listed([LACKS[name] for name in lacks])
        parts.append(f"{name_list(names)}: {missing}. {consequence}".strip())

    without_native = [node.hostname for node in nodes if node.lacks_native_frames]
    parts += [f"{name_list(without_native)}: no native frames."] if without_native else []
    without_gpus = [node.hostname for node in nodes if node.rungs["gpu"].state == "no"]
    parts += [f"{name_list(without_gpus)}: no GPU readings."] if without_gpus else []
    return " ".join(parts)


def _consequence(node: NodeAccess) -> str:
    if not node.gives_stacks:
        return "Ranks there cannot be inspected."

    if "stacks" in node.lacks:
        return "In-process reads answer there while a rank's main thread is free."

    return ""


def listed(parts: list[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def name_list(names: list[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
