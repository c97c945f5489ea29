"""What `launch` knows beforehand: the script of a command line, and who sets which variables."""

from __future__ import annotations

import pytest

from dsray_inspect.agent.compat import launch_variables
from dsray_inspect.agent.launch.program import (
    UNKNOWN_SCRIPT,
    program_of_entrypoint,
    program_of_rank,
)
from tests.compat.test_shelves import installed
from tests.unit.launch_jobs import plan


@pytest.mark.parametrize(
    ("entrypoint", "words"),
    [
        ("python train.py --lr 0.1", ("train.py", "--lr", "0.1")),
        ("NCCL_DEBUG=INFO python3.11 -u -X dev train.py a", ("train.py", "a")),
        (
            "/opt/venv/bin/python -m my.trainer --note 'two words'",
            ("-m", "my.trainer", "--note", "two words"),
        ),
        ("./train.py x", ("./train.py", "x")),
        ("python train.py --token <redacted>", ("train.py", "--token", "<redacted>")),
    ],
)
def test_a_simple_entrypoint_gives_the_script(entrypoint: str, words: tuple[str, ...]) -> None:
    assert program_of_entrypoint(entrypoint).words == words


@pytest.mark.parametrize(
    "entrypoint",
    [
        "bash run.sh",
        "cd job && python train.py",
        "python -c 'print()'",
        "python",
        "",
        "echo 'x",
        "python -m",
    ],
)
def test_what_an_entrypoint_does_not_say_is_not_guessed(entrypoint: str) -> None:
    program = program_of_entrypoint(entrypoint)
    assert program.script == UNKNOWN_SCRIPT
    assert program.why


def test_what_a_launcher_added_is_not_the_scripts() -> None:
    program = program_of_rank(["/usr/bin/python", "-u", "train.py", "--local_rank=3", "--lr", "1"])
    assert (program.interpreter, program.words) == ("/usr/bin/python", ("train.py", "--lr", "1"))


def test_an_unknown_script_is_one_note() -> None:
    found = plan("torchrun", entrypoint="bash run.sh")
    assert found.commands[0].argv[-1] == UNKNOWN_SCRIPT
    assert found.notes[0] == (
        "SCRIPT, and its arguments, are not known: the command is not a Python script but bash."
    )


@pytest.mark.parametrize(
    ("table", "package"),
    [(launch_variables.TORCHRUN, "torch"), (launch_variables.DEEPSPEED, "deepspeed")],
)
def test_the_installed_launcher_names_every_variable_of_its_table(
    table: launch_variables.LaunchTable, package: str
) -> None:
    root = installed(package).root / package
    folders = ("distributed",) if package == "torch" else ("launcher", "accelerator")
    files = [file for folder in folders for file in (root / folder).rglob("*.py")]
    text = "".join(file.read_text() for file in [*files, root / "__init__.py"])
    # DeepSpeed has a constant for two of them.
    constants = text + "".join(file.read_text() for file in root.glob("constants.py"))
    assert [row.name for row in table.variables if row.name not in constants] == []


def test_every_table_names_its_source_and_version() -> None:
    tables = [
        table
        for table in vars(launch_variables).values()
        if isinstance(table, launch_variables.LaunchTable)
    ]
    assert len(tables) == 8
    assert all(table.source and table.version[-1].isdigit() for table in tables)
    assert all(row.value is not None or row.note for table in tables for row in table.variables)
