"""What ranks are to run, by the command line that started the job or a rank."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final

from dsray_inspect.agent.launch.plan import Program

UNKNOWN_SCRIPT: Final = "SCRIPT"
"""Stands on a command line for a script that is not known."""
DEFAULT_INTERPRETER: Final = "python"
_PYTHON = re.compile(r"(?:.*/)?python[\d.]*\Z")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SHELL = re.compile(r"[;|&<>`]|\$\(")
_WITH_VALUE: Final = ("-W", "-X")
_LOCAL_RANK = re.compile(r"--local[-_]rank=\d+\Z")


def program_of(argv: Sequence[str]) -> Program:
    """Return the script and arguments of a Python command line, or why they are not known."""
    if not argv:
        return unknown("no command line is known")

    if not _PYTHON.match(argv[0]):
        if argv[0].endswith(".py"):
            return Program(
                interpreter=DEFAULT_INTERPRETER, script=argv[0], arguments=tuple(argv[1:])
            )

        return unknown(f"the command is not a Python script but {argv[0]}")

    return _after_options(argv)


def program_of_entrypoint(entrypoint: str) -> Program:
    """Return what a job's entrypoint runs, or why that is not known."""
    if not entrypoint:
        return unknown("the job has no entrypoint")

    try:
        words = shlex.split(entrypoint)
    except ValueError:
        return unknown(f"the entrypoint is not one simple command: {entrypoint}")

    if any(_SHELL.search(word) for word in words if "<redacted>" not in word):
        return unknown(f"the entrypoint is not one simple command: {entrypoint}")

    while words and _ASSIGNMENT.match(words[0]):
        words = words[1:]

    return program_of(words)


def program_of_rank(argv: Sequence[str]) -> Program:
    """Return what a rank of another launcher runs, without what that launcher added."""
    return program_of([word for word in argv if not _LOCAL_RANK.match(word)])


def has_local_rank(argv: Sequence[str]) -> bool:
    """Return whether a launcher told a rank its local rank by an argument."""
    return any(_LOCAL_RANK.match(word) for word in argv)


def unknown(why: str) -> Program:
    return Program(interpreter=DEFAULT_INTERPRETER, script=UNKNOWN_SCRIPT, why=why)


def _after_options(argv: Sequence[str]) -> Program:
    interpreter, rest = argv[0], list(argv[1:])

    while rest and rest[0].startswith("-") and rest[0] not in ("-", "-m", "-c"):
        rest = rest[2:] if rest[0] in _WITH_VALUE else rest[1:]

    if not rest or rest[0] in ("-", "-c"):
        return unknown("Python was given no script")

    if rest[0] == "-m":
        if len(rest) < 2:
            return unknown("Python was given no module")

        return Program(
            interpreter=interpreter, script=rest[1], is_module=True, arguments=tuple(rest[2:])
        )

    return Program(interpreter=interpreter, script=rest[0], arguments=tuple(rest[1:]))
