"""Launchers other than Ray: the variables and command lines by which their ranks are known.

They need not be installed, here or in the job.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from dsray_inspect.agent.compat.rows import Convention

VERIFIED: tuple[str, ...] = ()


class RankVariables(NamedTuple):
    """The names under which one launcher gives a process its place."""

    rank: str
    world_size: str


SLURM_RANK: Annotated[str, Convention("The number of a task in a step of Slurm.")] = "SLURM_PROCID"
RANK_VARIABLES: Annotated[
    tuple[RankVariables, ...],
    Convention(
        "A rank's place, by the first of these that it has: torch's own (torchrun, deepspeed, "
        "Ray Train), Open MPI, MPICH and Intel MPI, Slurm."
    ),
] = (
    RankVariables("RANK", "WORLD_SIZE"),
    RankVariables("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    RankVariables("PMI_RANK", "PMI_SIZE"),
    RankVariables(SLURM_RANK, "SLURM_NTASKS"),
)
MASTER: Annotated[
    tuple[str, str], Convention("Where torch's ranks meet; the same for all of one world.")
] = ("MASTER_ADDR", "MASTER_PORT")
LOCAL_WORLD_SIZE: Annotated[
    str, Convention("How many ranks a launcher of torch started on one machine.")
] = "LOCAL_WORLD_SIZE"
RUN_ID: Annotated[str, Convention("The id of a torchrun rendezvous; `none` unless given.")] = (
    "TORCHELASTIC_RUN_ID"
)
SLURM_JOB: Annotated[str, Convention("The id of a Slurm job.")] = "SLURM_JOB_ID"
MPI_PREFIXES: Annotated[tuple[str, ...], Convention("How variables of MPI launchers begin.")] = (
    "OMPI_COMM_WORLD_",
    "PMI_",
)
DEEPSPEED_COMMANDS: Annotated[
    tuple[str, ...],
    Convention("In the command line of the process that deepspeed starts ranks from."),
] = ("deepspeed.launcher.launch", "deepspeed/launcher/launch.py")
