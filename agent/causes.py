"""The causes: one row each. Whatever must know all causes reads this table or is checked against it.

`model.Cause` (the JSON contract), the badges of the terminal UI, the start-up dashboard, the table
in `docs/causes.md` and the fault suite's catalogue are derived from it or held to it by
`tests/unit/test_causes.py`.
"""

from __future__ import annotations

from typing import Final, Literal

from dsray_inspect.agent.model import Cause, Phase, Record, Severity

Family = Literal[
    "stall",
    "disagreement",
    "process",
    "rendezvous",
    "compile",
    "exit",
    "driver and controller",
    "drift",
    "numerics",
    "memory",
]
LauncherName = Literal["ray", "ray_train"]


class StallSpec(Record, frozen=True, kw_only=True):
    """How a cause applies to a rank that is in no collective while its peers wait for it."""

    phases: tuple[Phase, ...] = ()
    """The phases of such a rank that mean this cause."""
    activity: str = ""
    """What the rank is blocked in, before the place in the code; empty where the place says it all."""
    named_while_active: bool = False
    """Whether a rank that still runs keeps this cause; otherwise it is a straggler."""
    outranks_gil: bool = False
    """Whether this cause explains a rank that holds its GIL better than `gil_held` does."""
    grace_s: float | None = None
    """How long a rank that still runs may take; None for the time after which any wait is a stall."""


class CauseSpec(Record, frozen=True, kw_only=True):
    """One cause.

    Attributes:
        code: As in the JSON output.
        family: The module in `detectors/` and the row in the documentation it belongs to.
        severity: What its findings have unless the detector knows better.
        badge: What the terminal UI calls a blamed rank, None for the word for any blamed rank.
        meaning: One clause for the documentation.
        evidence: What it is concluded from, for the documentation.
        next: The subcommand to run next with its flags, on the blamed ranks; empty where each finding
            has a better one.
        needs: The launchers it can occur under; empty for all.
        ends_run: Whether the run has failed once it is found.
        in_setup: Whether it delays the start of training.
        stall: For causes that a stalled rank can have.
    """

    code: Cause
    family: Family
    severity: Severity
    badge: str | None = None
    meaning: str
    evidence: str
    next: tuple[str, ...] = ()
    needs: tuple[LauncherName, ...] = ()
    ends_run: bool = False
    in_setup: bool = False
    stall: StallSpec | None = None


CAUSES: Final = (
    CauseSpec(
        code="rank_blocked_in_user_code",
        family="stall",
        severity="error",
        meaning="a rank is blocked in your code while its peers wait for it",
        evidence="no CPU time, no bytes moved and no busy child between two samples, outside the "
        "collective, report or process group its peers are in",
        next=("stacks", "--locals"),
        stall=StallSpec(phases=("user", "forward", "backward", "optimizer_step")),
    ),
    CauseSpec(
        code="data_stall",
        family="stall",
        severity="error",
        badge="STARVED",
        meaning="a rank waits for its data loader, and its peers wait for it",
        evidence="the same, with the DataLoader on the stack; its worker processes are shown",
        next=("stacks", "--all-threads"),
        stall=StallSpec(
            phases=("data",),
            activity="its data loading at",
            named_while_active=True,
            outranks_gil=True,
        ),
    ),
    CauseSpec(
        code="collective_mismatch",
        family="disagreement",
        severity="error",
        badge="MISMATCH",
        meaning="ranks call different operations or sizes for one collective",
        evidence="sequence number, operation and size of each rank's collective; gloo's error",
        next=("stacks",),
    ),
    CauseSpec(
        code="rank_divergence",
        family="disagreement",
        severity="error",
        badge="DIVERGED",
        meaning="ranks took different paths through the code and wait for one another",
        evidence="different collectives or groups; a rank that has left the training function; ranks "
        "that create a process group while the others are in a collective",
        next=("stacks",),
    ),
    CauseSpec(
        code="gil_held",
        family="process",
        severity="error",
        badge="GIL HELD",
        meaning="one thread holds a rank's GIL, so nothing else in it runs",
        evidence="no in-process answer, the same thread at the same place with the GIL in two dumps of "
        "each sample, and peers that have waited for 8 s",
        next=("stacks", "--native"),
    ),
    CauseSpec(
        code="straggler",
        family="stall",
        severity="warning",
        badge="SLOW",
        meaning="a rank is slower than its peers, and the run goes at its pace",
        evidence="when each rank enqueued each collective, by the flight recorders: the time the others "
        "lost to one rank, again and again",
        next=("stacks",),
    ),
    CauseSpec(
        code="rendezvous_wait",
        family="rendezvous",
        severity="warning",
        badge="NOT THERE",
        meaning="ranks wait in init_process_group for ranks that have not reached it",
        evidence="stacks; a MASTER_ADDR, MASTER_PORT or WORLD_SIZE that is not the same on all ranks",
        next=("stacks", "--all-threads"),
        in_setup=True,
    ),
    CauseSpec(
        code="network_unreachable",
        family="rendezvous",
        severity="error",
        meaning="a node or an address cannot be reached",
        evidence="connections in SYN_SENT in two samples; a raylet that does not answer; errors of gloo "
        "and torch",
        next=("env",),
        in_setup=True,
    ),
    CauseSpec(
        code="op_compile_slow",
        family="compile",
        severity="warning",
        badge="COMPILES",
        meaning="a rank compiles a DeepSpeed op, and its peers wait for it",
        evidence="compilers among the rank's child processes",
        in_setup=True,
    ),
    CauseSpec(
        code="op_compile_lock",
        family="compile",
        severity="error",
        badge="LOCKED",
        meaning="ranks wait for the lock of a compile that nobody is running",
        evidence="FileBaton.wait on the stacks, no compiler on the node, the age of the lock file",
        next=("stacks",),
        in_setup=True,
    ),
    CauseSpec(
        code="checkpoint_stall",
        family="stall",
        severity="error",
        meaning="a rank is blocked while it writes a checkpoint",
        evidence="as for rank_blocked_in_user_code, with a checkpoint function on the stack",
        next=("stacks", "--locals"),
        stall=StallSpec(
            phases=("checkpoint",),
            activity="its checkpoint at",
            outranks_gil=True,
            grace_s=120.0,
        ),
    ),
    CauseSpec(
        code="report_barrier",
        family="disagreement",
        severity="error",
        badge="NO REPORT",
        meaning="some ranks called ray.train.report and the others did not",
        evidence="some ranks in ray.train.report, the others in a collective or gone",
        next=("stacks",),
        needs=("ray_train",),
    ),
    CauseSpec(
        code="object_wait",
        family="stall",
        severity="error",
        meaning="a rank waits in ray.get for an object that nobody produces",
        evidence="ray.get or ray.wait on the stack, and no actor of the job at work; 30 s of grace while "
        "one is",
        next=("stacks", "--all-threads"),
        needs=("ray",),
        stall=StallSpec(activity="ray.get, called by", named_while_active=True),
    ),
    CauseSpec(
        code="resources_pending",
        family="driver and controller",
        severity="error",
        meaning="the cluster lacks what the run's placement group asks for",
        evidence="a pending placement group and the free resources of all nodes",
        needs=("ray",),
        in_setup=True,
    ),
    CauseSpec(
        code="restart_loop",
        family="exit",
        severity="error",
        badge="FAILS AGAIN",
        meaning="Ray Train starts the run again and again, and it fails of the same each time",
        evidence="Ray Train's log: at least three failures in a row with one error at one place, all "
        "retried, and an attempt that has not outlived them",
        needs=("ray_train",),
    ),
    CauseSpec(
        code="worker_dead",
        family="exit",
        severity="error",
        meaning="a rank's process has ended or its training function raised",
        evidence="Ray's worker and actor tables, Ray Train's log, the last lines of the process",
        ends_run=True,
    ),
    CauseSpec(
        code="worker_oom",
        family="exit",
        severity="error",
        meaning="a rank ran out of memory or was killed for it",
        evidence="the kernel's log, Ray's memory monitor, OutOfMemoryError",
        ends_run=True,
    ),
    CauseSpec(
        code="node_lost",
        family="exit",
        severity="error",
        meaning="a node is gone, and its ranks with it",
        evidence="Ray's node table",
        ends_run=True,
    ),
    CauseSpec(
        code="driver_blocked",
        family="driver and controller",
        severity="error",
        meaning="the driver is blocked in your code before, between or after its fit() calls",
        evidence="the driver's stack and CPU time in two samples, no living Train run",
        needs=("ray_train",),
    ),
    CauseSpec(
        code="controller_blocked",
        family="driver and controller",
        severity="error",
        meaning="your code blocks the Train controller's event loop",
        evidence="no answer from the controller, your code on its event loop's stack",
        needs=("ray_train",),
    ),
    CauseSpec(
        code="device_conflict",
        family="drift",
        severity="warning",
        badge="WRONG GPU",
        meaning="ranks share one GPU by mistake, or a rank's device does not exist",
        evidence="GPU UUIDs, `CUDA_VISIBLE_DEVICES[LOCAL_RANK]`",
        next=("env", "--all"),
    ),
    CauseSpec(
        code="env_drift",
        family="drift",
        severity="warning",
        meaning="a variable that libraries read is not the same on all ranks",
        evidence="the environments of all ranks and of the driver",
        next=("env",),
    ),
    CauseSpec(
        code="config_drift",
        family="drift",
        severity="error",
        badge="DRIFTS",
        meaning="ranks run with different DeepSpeed configs",
        evidence="the engines' effective configs; a world size read as 1",
        next=("attach", "--json"),
    ),
    CauseSpec(
        code="nonfinite_loss",
        family="numerics",
        severity="warning",
        meaning="the loss or the weights are NaN or infinite",
        evidence="loss and weights of the engine, where they are in host memory",
        next=("stacks", "--locals"),
    ),
    CauseSpec(
        code="overflow_skips",
        family="numerics",
        severity="warning",
        meaning="steps are skipped because of gradient overflow",
        evidence="overflow, gradient norm and skipped steps of the engine",
        next=("attach", "--json"),
    ),
    CauseSpec(
        code="memory_pressure",
        family="memory",
        severity="warning",
        meaning="ranks have nearly used up the memory of their cgroup or host",
        evidence="a cgroup at 93 %, a host at 96 %",
        next=("attach",),
    ),
    CauseSpec(
        code="object_spilling",
        family="memory",
        severity="warning",
        meaning="a node of the run spills objects to disk",
        evidence="spilled files that were written within the last 15 s",
        needs=("ray",),
    ),
    CauseSpec(
        code="unknown",
        family="process",
        severity="error",
        meaning="a process is stopped (SIGSTOP or a debugger), or every error is a consequence",
        evidence="process state T or t, TracerPid; Ray Train's log",
    ),
)
"""In the order of `model.Cause`."""

_BY_CODE: Final = {spec.code: spec for spec in CAUSES}
CAUSE_OF_PHASE: Final[dict[Phase, Cause]] = {
    phase: spec.code for spec in CAUSES if spec.stall for phase in spec.stall.phases
}
"""What a stalled rank is blamed for, by its phase; phases that say nothing are missing."""


def spec_of(cause: Cause) -> CauseSpec:
    return _BY_CODE[cause]


def badge_of(cause: str, default: str) -> str:
    """Return what the terminal UI calls a blamed rank; newer snapshots may hold unknown causes."""
    return next((spec.badge for spec in CAUSES if spec.code == cause), None) or default


def setup_causes() -> tuple[Cause, ...]:
    """Return the causes that delay the start of training."""
    return tuple(spec.code for spec in CAUSES if spec.in_setup)
