"""The document of `launch`: one job as another launcher would start it."""

from __future__ import annotations

from typing import Literal

from dsray_inspect.agent.model import EnvSource, Job, Record, Run

SCHEMA_VERSION = 1

LauncherName = Literal["torchrun", "deepspeed", "mpirun", "trainjob", "mpijob", "rayjob"]
LiveKind = Literal["ray_train", "ray_actors", "torchrun", "deepspeed", "mpi", "slurm", "processes"]
Fate = Literal["passed_on", "set_again", "inherited", "gone"]


class Program(Record, frozen=True, kw_only=True):
    """What the ranks are to run; `why` says why that is not known, "" where it is."""

    interpreter: str
    script: str
    """A file, or a module where `is_module`."""
    is_module: bool = False
    arguments: tuple[str, ...] = ()
    why: str = ""

    @property
    def is_known(self) -> bool:
        return not self.why

    @property
    def words(self) -> tuple[str, ...]:
        """What follows the interpreter on a command line."""
        return (*(("-m",) if self.is_module else ()), self.script, *self.arguments)


class TrainingFunction(Record, frozen=True, kw_only=True):
    """The outermost function of the user's own on the ranks' stacks."""

    name: str
    file: str
    line: int
    """Where it was when the stacks were read."""


class PlannedNode(Record, frozen=True, kw_only=True):
    """One machine with its ranks; resources are None where nobody reserved any."""

    ip: str
    hostname: str
    ranks: tuple[int, ...]
    cpus: float | None
    gpus: float | None


class Command(Record, frozen=True, kw_only=True):
    """A command to type on one node, or anywhere if that is None; `line` is it for a shell."""

    node_ip: str | None
    env: dict[str, str]
    argv: tuple[str, ...]
    line: str


class PlannedFile(Record, frozen=True, kw_only=True):
    """A file that the command reads, or the manifest."""

    name: str
    text: str


class PlannedVariable(Record, frozen=True, kw_only=True):
    """A variable of one rank: as the new launcher sets it, and as it is in the live job."""

    value: str | None
    """None where only the start decides it; `note` says what does."""
    set_by: str
    """torchrun, deepspeed, mpirun, trainer, kuberay, ray, ray_train, or `command`."""
    note: str
    live: str | None
    live_source: EnvSource | None


class PlannedRank(Record, frozen=True, kw_only=True):
    """`live_rank` is the rank of the live job whose variables stand beside."""

    rank: int
    local_rank: int
    node_rank: int
    live_rank: int
    env: dict[str, PlannedVariable]


class LiveVariable(Record, frozen=True, kw_only=True):
    """A variable of the live job that the new launcher does not set, and what becomes of it."""

    name: str
    values: tuple[str, ...]
    """Its values over all ranks, in the ranks' order, each once."""
    source: EnvSource
    fate: Fate
    note: str = ""


class Contrast(Record, frozen=True, kw_only=True):
    """One thing that is otherwise under the other launcher."""

    topic: str
    live: str
    other: str


class LaunchPlan(Record, frozen=True, kw_only=True):
    """The document of `launch`."""

    schema_version: int = SCHEMA_VERSION
    taken_at: float
    job: Job
    run: Run | None
    live_kind: LiveKind
    launcher: LauncherName
    world_size: int
    nodes: tuple[PlannedNode, ...]
    program: Program
    function: TrainingFunction | None
    commands: tuple[Command, ...]
    files: tuple[PlannedFile, ...]
    ranks: tuple[PlannedRank, ...]
    others: tuple[LiveVariable, ...]
    own_prefixes: tuple[str, ...]
    """The launcher sets more variables, for itself, whose names begin so."""
    lost: tuple[Contrast, ...]
    """What the live job's launcher did that the other will not."""
    changed: tuple[Contrast, ...]
    """What the other launcher does in another way."""
    notes: tuple[str, ...]
    """What is not known, and what a start needs that is not shown."""
