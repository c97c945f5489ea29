"""The suite: what breaks in which job, and what a tool should say of it.

A case is one real Ray Train + DeepSpeed job of 3 ranks. It breaks at a rank and a step that are
drawn by a seed. `causes` are those of docs/faults.md; several where more than one is true.

`make faults` runs all cases. `make test` runs those with `in_ci`; these mechanisms are covered by
the jobs of tests/ray, with the same assertions on cause and culprits:

    vision/sleep, finetune/early-stop              test_why.py
    vision/none                                    test_why.py
    vision/loader, vision/native-gil, vision/ends  test_attach.py
    finetune/raise                                 test_attach.py
    launch/no-room, launch/late, launch/stale-lock test_attach.py
    rollouts/sigkill                               test_trace.py
    launch/one-gpu                                 test_two_nodes.py
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Culprits = Literal["seeded", "all", "none", "not scored"]
WORKERS = 3


@dataclass(frozen=True)
class Case:
    """One job. Without `causes` it is healthy, however it looks."""

    name: str
    script: str
    fault: str
    causes: tuple[str, ...] = ()
    culprits: Culprits = "seeded"
    rank: int | None = None
    """The rank that breaks, where it must not be drawn."""
    settle_s: float = 10.0
    """Seconds after the fault at which a cold look is scored."""
    gpus: float = 0
    in_ci: bool = False
    """Whether `make test` runs it: one case for each mechanism that tests/ray does not cover."""
    needs: str = ""

    @property
    def is_healthy(self) -> bool:
        return not self.causes

    def place(self, seed: int) -> tuple[int, int]:
        """Return the rank and the step at which it breaks."""
        drawn = random.Random(f"{seed}/{self.name}")
        rank, step = drawn.randrange(WORKERS), drawn.randrange(12, 28)
        return (rank if self.rank is None else self.rank), step

    def blamed(self, rank: int) -> tuple[int, ...] | None:
        """Return the ranks that are to blame, None where that is not scored."""
        return {
            "seeded": (rank,),
            "all": tuple(range(WORKERS)),
            "none": (),
            "not scored": None,
        }[self.culprits]


def vision(name: str, *causes: str, **more: object) -> Case:
    return Case(f"vision/{name}", "vision.py", name, causes, **more)  # type: ignore[arg-type]


def finetune(name: str, *causes: str, **more: object) -> Case:
    return Case(f"finetune/{name}", "finetune.py", name, causes, **more)  # type: ignore[arg-type]


def rollouts(name: str, *causes: str, **more: object) -> Case:
    return Case(f"rollouts/{name}", "rollouts.py", name, causes, **more)  # type: ignore[arg-type]


def launch(name: str, *causes: str, **more: object) -> Case:
    return Case(f"launch/{name}", "launch.py", name, causes, **more)  # type: ignore[arg-type]


def pipelines(name: str, *causes: str, **more: object) -> Case:
    return Case(f"pipelines/{name}", "pipelines.py", name, causes, **more)  # type: ignore[arg-type]


def outside(name: str, *causes: str, **more: object) -> Case:
    return Case(f"outside/{name}", "outside.py", name, causes, **more)  # type: ignore[arg-type]


USER = "rank_blocked_in_user_code"
CASES: tuple[Case, ...] = (
    # A rank that does not come.
    vision("sleep", USER),
    vision("deadlock", USER),
    vision("fifo", USER),
    vision("poll", USER),
    vision("socket", USER),
    vision("spin", "straggler", USER, settle_s=34),
    vision("loader", "data_stall"),
    vision("stream", "data_stall"),
    vision("full-disk", "checkpoint_stall", in_ci=True),
    vision("upload", "checkpoint_stall", in_ci=True),
    vision("frozen", "unknown"),
    vision("regex", "gil_held"),
    vision("native-gil", "gil_held"),
    vision("slow", "straggler", in_ci=True),
    # Ranks that disagree.
    finetune("branch", "collective_mismatch", "rank_divergence"),
    finetune("early-stop", "rank_divergence"),
    finetune("save-alone", "rank_divergence", "collective_mismatch", rank=0),
    finetune("node-group", USER, rank=1),
    finetune("barrier", "rank_divergence", "collective_mismatch"),
    # Gloo ends whoever meets a message that is too long for it, be it the one that is right.
    finetune("eval-gather", "collective_mismatch", "rank_divergence", culprits="not scored"),
    finetune("other-op", "collective_mismatch", "rank_divergence"),
    finetune("other-size", "collective_mismatch", culprits="not scored"),
    # Numbers, configs, environments.
    finetune("nan", "nonfinite_loss", culprits="not scored", in_ci=True),
    finetune("inf-step", "overflow_skips", culprits="not scored"),
    finetune("zero-mix", "config_drift", in_ci=True),
    finetune("clip-mix", "config_drift"),
    finetune("env", "env_drift", in_ci=True),
    finetune("hidden-env", "env_drift", culprits="all"),
    # Ranks that end.
    finetune("raise", "worker_dead"),
    rollouts("sigkill", "worker_dead"),
    rollouts("segv", "worker_dead"),
    rollouts("exit", "worker_dead"),
    rollouts("oom", "worker_oom", needs="a memory cgroup"),
    rollouts("squeeze", "memory_pressure", needs="a memory cgroup"),
    # Ray in between.
    rollouts("actor-get", "object_wait", in_ci=True),
    rollouts("task-pending", "object_wait"),
    rollouts("report-alone", "report_barrier"),
    rollouts("report-skip", "report_barrier", in_ci=True),
    rollouts("report-blocked", USER),
    rollouts("spill", "object_spilling", culprits="none"),
    # Before there is training.
    launch("no-room", "resources_pending", culprits="none"),
    launch("late", "rendezvous_wait"),
    launch("other-port", "rendezvous_wait", rank=1),
    launch("dead-address", "network_unreachable", "rendezvous_wait", rank=2),
    launch("world-size", "rendezvous_wait", culprits="not scored"),
    launch("tokenizer", USER),
    launch("stale-lock", "op_compile_lock", culprits="all"),
    launch("cold-compile", "op_compile_slow", culprits="not scored"),
    launch("driver", "driver_blocked", culprits="none", in_ci=True),
    launch("callback", "controller_blocked", culprits="none"),
    launch("one-gpu", "device_conflict", culprits="all"),
    # Ray Data feeds the ranks.
    pipelines("map-hangs", "data_stall", culprits="none", settle_s=50),
    pipelines("actor-hangs", "data_stall", culprits="none", settle_s=50),
    pipelines("shard-alone", "data_stall"),
    pipelines("epoch-alone", "data_stall"),
    pipelines("starved", "data_stall", culprits="none", settle_s=20),
    # The reason is no rank.
    outside("flock", USER),
    outside("lockf", USER),
    outside("decoder", USER),
    outside("service", USER),
    outside("sink", USER),
    outside("coroutine", USER),
    outside("gather", USER),
    outside("after-fit", "driver_blocked", culprits="none", in_ci=True),
    outside("between-fits", "driver_blocked", culprits="none"),
    outside("crash-loop", "restart_loop", in_ci=True),
    outside("exit-loop", "restart_loop"),
    outside("taken", "resources_pending", culprits="none"),
    outside("other-job", "resources_pending", culprits="none"),
    outside("ifname", "network_unreachable", culprits="none"),
    outside("resume", "worker_dead", culprits="not scored"),
    # Healthy, but scary.
    vision("none"),
    finetune("none"),
    vision("uneven"),
    vision("slow-steps"),
    vision("validation", in_ci=True),
    vision("fetch"),
    vision("long-save"),
    vision("collect"),
    vision("debugger"),
    vision("first-batch"),
    vision("first-step"),
    vision("ends"),
    rollouts("big-get"),
    rollouts("restart"),
    rollouts("reports"),
    launch("download"),
    pipelines("slow-map"),
    outside("two-fits"),
    outside("event-loop"),
)


def named(names: list[str], *, ci: bool = False) -> list[Case]:
    """Return the cases whose names begin with one of `names`, all when there is none.

    Raises:
        LookupError: a name fits no case.
    """
    for name in names:
        if not any(case.name.startswith(name) for case in CASES):
            raise LookupError(f"no case {name}")

    return [
        case
        for case in CASES
        if (not names or case.name.startswith(tuple(names))) and (case.in_ci or not ci)
    ]
