"""The command lines and files of torchrun, deepspeed and mpirun."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from dsray_inspect.agent.launch.plan import Command, PlannedFile, PlannedNode, Program

HOSTFILE: Final = "hostfile"
DEEPSPEED_ENV: Final = ".deepspeed_env"
"""DeepSpeed's launcher sets what this file of the home or working folder holds on every node."""


def torchrun_commands(
    program: Program,
    nodes: Sequence[PlannedNode],
    *,
    master: tuple[str, int],
    given: Mapping[str, str],
) -> tuple[Command, ...]:
    """Return one command per node."""
    return tuple(
        command(
            (
                "torchrun",
                f"--nnodes={len(nodes)}",
                *((f"--node-rank={number}",) if len(nodes) > 1 else ()),
                f"--nproc-per-node={len(node.ranks)}",
                f"--master-addr={master[0]}",
                f"--master-port={master[1]}",
                *program.words,
            ),
            node_ip=node.ip,
            env=given,
        )
        for number, node in enumerate(nodes)
    )


def deepspeed_command(
    program: Program,
    nodes: Sequence[PlannedNode],
    *,
    master: tuple[str, int],
    given: Mapping[str, str],
    adds_local_rank: bool = False,
) -> tuple[Command, tuple[PlannedFile, ...]]:
    """Return the command, and its files where there are several nodes.

    Unless told otherwise, the launcher adds an argument that other scripts do not know.
    """
    is_one = len(nodes) == 1
    address = ("--master_addr", master[0], "--master_port", str(master[1]))
    where = (
        ("--num_gpus", str(len(nodes[0].ranks)), *address)
        if is_one
        else ("--hostfile", HOSTFILE, *address)
    )
    quiet = () if adds_local_rank else ("--no_local_rank",)
    argv = ("deepspeed", *where, *quiet, *_after_deepspeed(program))

    if is_one:
        return command(argv, node_ip=nodes[0].ip, env=given), ()

    files = [PlannedFile(name=HOSTFILE, text=hostfile(nodes))]

    if given:
        lines = "".join(f"{name}={value}\n" for name, value in given.items())
        files.append(PlannedFile(name=DEEPSPEED_ENV, text=lines))

    return command(argv, node_ip=nodes[0].ip, env={}), tuple(files)


def _after_deepspeed(program: Program) -> tuple[str, ...]:
    if program.is_module:
        return ("--module", program.script, *program.arguments)

    return program.words


def mpirun_command(
    program: Program,
    nodes: Sequence[PlannedNode],
    *,
    given: Mapping[str, str],
    secrets: Sequence[str],
) -> tuple[Command, tuple[PlannedFile, ...]]:
    """Return the command, and its hostfile where there are several nodes.

    The values of `secrets` come from the environment that mpirun is started in.
    """
    is_one = len(nodes) == 1
    where = ("--host", f"localhost:{len(nodes[0].ranks)}") if is_one else ("--hostfile", HOSTFILE)
    options = mpirun_options(nodes, given, secrets=secrets, where=where)
    argv = ("mpirun", *options, program.interpreter)
    files = () if is_one else (PlannedFile(name=HOSTFILE, text=hostfile(nodes)),)
    return command((*argv, *program.words), node_ip=nodes[0].ip, env={}), files


def mpirun_options(
    nodes: Sequence[PlannedNode],
    given: Mapping[str, str],
    *,
    secrets: Sequence[str],
    where: Sequence[str] = (),
) -> tuple[str, ...]:
    ranks = sum(len(node.ranks) for node in nodes)
    passed = [*(f"{name}={value}" for name, value in given.items()), *secrets]
    exports = [word for variable in passed for word in ("-x", variable)]
    # Open MPI would bind each rank to one core, or to the cores of one NUMA node.
    return ("-np", str(ranks), *where, "--bind-to", "none", *exports)


def hostfile(nodes: Sequence[PlannedNode]) -> str:
    """Return the nodes with their slots; DeepSpeed and Open MPI read the same form."""
    return "".join(f"{node.ip} slots={len(node.ranks)}\n" for node in nodes)


def command(argv: Sequence[str], *, node_ip: str | None, env: Mapping[str, str]) -> Command:
    """Return a command with its line for a shell, variables first."""
    words = [f"{name}={shlex.quote(value)}" for name, value in env.items()]
    return Command(
        node_ip=node_ip,
        env=dict(env),
        argv=tuple(argv),
        line=" ".join((*words, shlex.join(argv))),
    )
