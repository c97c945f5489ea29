"""What is not known of a launch, and what a start needs that no command line shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dsray_inspect.agent.launch.commands import DEEPSPEED_ENV
from dsray_inspect.agent.launch.contrasts import ON_KUBERNETES
from dsray_inspect.agent.launch.environment import DIFFERS, HIDDEN
from dsray_inspect.agent.launch.facts import LiveJob
from dsray_inspect.agent.launch.manifests import IMAGE, SECRET
from dsray_inspect.agent.launch.plan import LauncherName, LiveVariable
from dsray_inspect.agent.launch.program import UNKNOWN_SCRIPT
from dsray_inspect.agent.remote.redaction import REDACTED

LOCAL_MODE: Final = (
    "With ScalingConfig(num_workers=0), the local mode of newer versions of Ray Train, fit() does "
    "both in each rank that torchrun starts."
)
_WITH_LOCAL_MODE: Final = ("torchrun", "trainjob")
_MOST_RANKS: Final = 8


def notes_of(
    job: LiveJob, launcher: LauncherName, others: Sequence[LiveVariable], *, is_even: bool
) -> tuple[str, ...]:
    """Return them, what stops a start first."""
    return (
        *_of_the_ranks(job, is_even=is_even),
        *_of_the_script(job, launcher),
        *_of_the_variables(others, launcher),
        *_of_mpi(job, launcher),
        *_of_pods(job, launcher),
    )


def _of_the_ranks(job: LiveJob, *, is_even: bool) -> Iterator[str]:
    if job.missing_ranks:
        shown = ", ".join(map(str, job.missing_ranks[:_MOST_RANKS]))
        more = ", …" if len(job.missing_ranks) > _MOST_RANKS else ""
        noun = "rank" if len(job.missing_ranks) == 1 else "ranks"
        yield f"Not seen, and left out: {noun} {shown}{more}. What is shown starts the others only."

    if not is_even:
        yield (
            "The nodes have unequally many ranks, but all pods of such a job have equally many: "
            "the ranks are split into more and smaller pods."
        )

    if any(not live.env for live in job.ranks.values()):
        yield "The environment of some ranks could not be read; dsray-inspect env says why."


def _of_the_script(job: LiveJob, launcher: LauncherName) -> Iterator[str]:
    program, function = job.program, job.function

    if not program.is_known and not (launcher == "rayjob" and job.is_rays):
        yield f"{UNKNOWN_SCRIPT}, and its arguments, are not known: {program.why}."

    if REDACTED in job.entrypoint or any(REDACTED in word for word in program.arguments):
        yield "A part of the entrypoint is redacted here; put it back before you start it."

    if launcher == "rayjob":
        if not job.is_rays:
            yield (
                "Nothing of this job calls Ray: the entrypoint has to be a driver that starts "
                f"{job.world_size} ranks, such as a TorchTrainer."
            )

        return

    if job.is_rays and function is not None:
        place = f"{function.name}() in {function.file.rpartition('/')[2]}"
        now = "fit() sends it" if job.kind == "ray_train" else "the driver sends the call"
        yield (
            f"The script must join a process group and call {place} itself; now {now} to the ranks."
        )

        if job.kind == "ray_train" and launcher in _WITH_LOCAL_MODE:
            yield LOCAL_MODE
    elif job.is_rays:
        yield "What the ranks run is not known: none of their stacks shows a function of yours."


def _of_the_variables(others: Sequence[LiveVariable], launcher: LauncherName) -> Iterator[str]:
    hidden = [variable.name for variable in others if variable.note == HIDDEN]
    differing = [variable.name for variable in others if variable.note == DIFFERS]

    if hidden and launcher in ON_KUBERNETES:
        yield f"{', '.join(hidden)}: redacted here; put the values into a Secret and name it for {SECRET}."
    elif hidden and launcher == "deepspeed":
        yield (
            f"{', '.join(hidden)}: redacted here; export the values, or for several nodes put them "
            f"into {DEEPSPEED_ENV}."
        )
    elif hidden:
        yield f"{', '.join(hidden)}: redacted here; export the values on each node that starts it."

    if differing:
        yield f"{', '.join(differing)}: {DIFFERS}; the script has to set it."


def _of_mpi(job: LiveJob, launcher: LauncherName) -> Iterator[str]:
    if launcher not in ("mpirun", "mpijob"):
        return

    if job.uses_deepspeed:
        yield (
            "mpirun sets no RANK, WORLD_SIZE or MASTER_ADDR: deepspeed.init_distributed() finds "
            "them with mpi4py, which has to be installed."
        )
    else:
        yield (
            "mpirun sets no RANK or WORLD_SIZE: the script has to take them from "
            "OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE before init_process_group()."
        )

    if launcher == "mpijob":
        yield (
            "The workers' ranks are started by sshd, so they get none of the pod's variables: what "
            "they need has to stand after -x."
        )


def _of_pods(job: LiveJob, launcher: LauncherName) -> Iterator[str]:
    if launcher not in ON_KUBERNETES:
        return

    versions = ", ".join(f"{name} {version}" for name, version in sorted(job.versions.items()))
    installed = f" The ranks have {versions}." if versions else ""

    if launcher == "trainjob":
        yield f"The image is the runtime's; it must have the script and its packages.{installed}"
    else:
        yield f"{IMAGE} is not known; it must have the script and its packages.{installed}"

    used = max((live.rss_bytes or 0 for live in job.ranks.values()), default=0)

    if used:
        yield f"Memory is not asked for; the largest rank has {used / 2**30:.1f} GiB resident now."

    if all(node.cpus is None for node in job.nodes):
        yield "CPUs are not asked for: nobody reserved any for this job."

    if any(node.gpus and not float(node.gpus).is_integer() for node in job.nodes):
        yield "Ranks share GPUs by fractions now; a pod gets whole GPUs, so they are rounded up."
