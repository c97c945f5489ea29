"""What Ray does for a job beyond starting its processes, and what stands for it elsewhere.

A row without a word on a launcher does not concern it. What is read of the live job fills the
braces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from dsray_inspect.agent.launch.facts import LiveJob
from dsray_inspect.agent.launch.plan import Contrast, LauncherName, LiveKind

_NOT_RAYS: Final = ("torchrun", "deepspeed", "mpirun", "trainjob", "mpijob")


class _Service(NamedTuple):
    """Something Ray does for a job; `others` says what stands in its place, by launcher."""

    topic: str
    kinds: tuple[LiveKind, ...]
    live: str
    others: Mapping[LauncherName, str]


def _all(words: str, **others: str) -> dict[LauncherName, str]:
    return {launcher: others.get(launcher, words) for launcher in _NOT_RAYS}


_SERVICES: Final = (
    _Service(
        "restarts",
        ("ray_train",),
        "FailureConfig(max_failures) starts the worker group again, on other nodes if need be{past}",
        _all(
            "none: when a rank fails, the launcher ends the others",
            torchrun="--max-restarts starts the ranks again on the same nodes; 0 unless given",
            trainjob="torchrun's --max-restarts inside a pod; the runtime's Job for whole pods",
            mpijob="spec.runPolicy.backoffLimit starts mpirun, and so all ranks, again",
        ),
    ),
    _Service(
        "restarts",
        ("ray_actors",),
        "max_restarts of an actor starts it again; its caller gets an error or a retry",
        _all(
            "none: when a rank fails, the launcher ends the others",
            torchrun="--max-restarts starts all ranks again on the same nodes; 0 unless given",
            trainjob="torchrun's --max-restarts inside a pod; the runtime's Job for whole pods",
            mpijob="spec.runPolicy.backoffLimit starts mpirun, and so all ranks, again",
        ),
    ),
    _Service(
        "Ray Data",
        ("ray_train", "ray_actors"),
        "{data}",
        _all("no data plane: each rank reads its own share, as with a DistributedSampler"),
    ),
    _Service(
        "reports",
        ("ray_train",),
        "ray.train.report() gathers metrics on the driver, in step on all ranks",
        _all("there is no session to report to: log from rank 0 instead"),
    ),
    _Service(
        "checkpoints",
        ("ray_train",),
        "checkpoints that are reported go to storage_path, and a restart gets the newest",
        _all("the script saves to storage that all nodes share, and finds the newest itself"),
    ),
    _Service(
        "arguments",
        ("ray_train",),
        "train_loop_config reaches the training function as a dict",
        _all("command-line arguments of the script, the same on every rank"),
    ),
    _Service(
        "driver",
        ("ray_actors",),
        "a driver, or an actor, calls methods of the ranks one by one",
        _all("nobody calls a rank: each runs the script from its first line to its end"),
    ),
    _Service(
        "placement",
        ("ray_train", "ray_actors"),
        "CPUs and GPUs are reserved{reserved}; ranks wait until all are free",
        _all(
            "nothing is reserved: you choose the nodes",
            trainjob="one pod per node asks for them; pods start together only with gang scheduling",
            mpijob="one pod per node asks for them; pods start together only with gang scheduling",
        ),
    ),
    _Service(
        "code",
        ("ray_train", "ray_actors"),
        "working_dir, py_modules and pip of the runtime environment go to every node",
        _all(
            "the script and its packages must be on every node, at the same path",
            trainjob="the image, or a volume, must have the script and its packages",
            mpijob="the image, or a volume, must have the script and its packages",
        ),
    ),
    _Service(
        "logs",
        ("ray_train", "ray_actors"),
        "every rank's output is kept on its node and printed by the driver",
        _all(
            "all ranks print to the launcher's terminal",
            torchrun="all ranks print to the terminal of their node; --log-dir keeps it",
            trainjob="all ranks of a pod print to its log",
            mpijob="all ranks print to the launcher pod's log",
        ),
    ),
)


def lost(job: LiveJob, launcher: LauncherName) -> tuple[Contrast, ...]:
    """Return what the live job's launcher did that the other will not."""
    times = "once" if job.past_groups == 1 else f"{job.past_groups} times"
    past = f" ({times} so far)" if job.past_groups else ""
    data = (
        f"feeds the ranks ({', '.join(job.data_actors)})"
        if job.data_actors
        else "no actor of it runs in this job"
    )
    facts = {"past": past, "data": data, "reserved": _reserved(job)}
    return tuple(
        Contrast(topic=row.topic, live=row.live.format_map(facts), other=row.others[launcher])
        for row in _SERVICES
        if job.kind in row.kinds and launcher in row.others
    )


def _reserved(job: LiveJob) -> str:
    cpus = [node.cpus for node in job.nodes if node.cpus is not None]
    gpus = [node.gpus for node in job.nodes if node.gpus is not None]

    if not cpus:
        return ""

    return f" (here {sum(cpus):g} CPUs and {sum(gpus):g} GPUs in all)"
