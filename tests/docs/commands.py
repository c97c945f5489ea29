"""Command lines of the manual, parsed by the real commands without running them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

import click

from dsray_inspect.agent.cli import COMMANDS, group
from dsray_inspect.agent.commands.submit import split
from dsray_inspect.agent.errors import UsageError
from tests.docs.pages import ROOT, blocks, inline_code

US: Final = "dsray-inspect"
# What a reader replaces, by something that fits.
PLACEHOLDERS: Final = {"RANK": "0", "N": "1", "S": "1", "…": ""}
# Programs of others, whose options are theirs.
FOREIGN: Final = frozenset(
    (
        *(".ci/run", "curl", "dmesg", "docker", "kubectl", "openssl", "pip"),
        *("prometheus", "python", "ray", "umask", "unzip"),
    )
)
# Typed at a prompt, advised by a report, or run in a pod.
_COMMAND = re.compile(rf"(?:(?:\$ |[A-Z_]+=\S+ | *next +)*|.* -- )({US} .*)")
_END = re.compile(r"\s(?:\||>>?|&&|#)\s|;")
_VARIABLE = re.compile(r"[A-Z_]+=\S*")
_YAML_COMMAND = re.compile(r"\[(dsray-inspect, [^\]]+)\]")
# The options that stand before a command's name.
_OPTIONS: Final = click.Command(
    US,
    params=group.params,
    context_settings={"allow_interspersed_args": False, "allow_extra_args": True},
)
_OPTION = re.compile(r"(?<![\w-])(-[a-zA-Z]|--[a-z][a-z-]+)\b")


class DoesNotParse(Exception):
    """Raised when a line of the manual is no command."""


def command_lines(page: str) -> Iterator[str]:
    """Yield each dsray-inspect command of a page, from its name on."""
    for block in blocks(page):
        if block.language in ("", "console", "sh"):
            for line in _joined(block.lines):
                found = _COMMAND.match(line)

                if found is not None:
                    yield found[1]

        if block.language == "yaml":
            for words in _YAML_COMMAND.findall(block.body):
                yield " ".join(word.strip() for word in words.split(","))

    for code in inline_code(page):
        if code.startswith(f"{US} "):
            yield code


def _joined(lines: list[str]) -> list[str]:
    return "\n".join(lines).replace("\\\n", " ").split("\n")


def words_of(line: str) -> list[str]:
    """Return the arguments of a dsray-inspect command line."""
    text = _END.split(line, maxsplit=1)[0] if " -- " not in line else line
    text = re.split(r"   ", text, maxsplit=1)[0]  # `doctor   says what each node needs`
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(text, comments=True)]
    return [word for word in words[1:] if word]


def check(line: str) -> None:
    """Parse a line as click would.

    Raises:
        DoesNotParse: the command, one of its options or its arguments do not exist.
    """
    words = words_of(line)

    if len(words) == 1 and words[0] in COMMANDS:
        return  # a mention of the command

    try:
        with _OPTIONS.make_context(US, list(words)) as context:
            rest = list(context.args)

            if not rest:
                return

            _, command, rest = group.resolve_command(context, rest)
            assert command is not None

            with command.make_context(command.name, list(rest), parent=context):
                pass

        if command.name == "submit":
            split(tuple(rest))
    except click.exceptions.Exit:
        pass  # --help, --version
    except (click.ClickException, UsageError) as error:
        raise DoesNotParse(f"{line}: {error}") from error


def own_options(name: str) -> set[str]:
    """Return the options of a command that its help shows, without the common ones."""
    command = group.get_command(click.Context(group), name)
    assert command is not None
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    return {option for param in shown for option in param.opts if option[:1] == "-"} - COMMON


def options_in(code: str) -> list[str]:
    return _OPTION.findall(re.split(r"\s--\s", code)[0])


def is_foreign(line: str) -> bool:
    """Tell whether a line is a command of another program, or one of our make targets."""
    words = [word for word in line.lstrip("($ ").split() if not _VARIABLE.fullmatch(word)]

    if not words or words[0].startswith("#"):
        return True

    if words[0] == "make":
        targets = [word for word in words[1:] if word.isidentifier() or "-" in word]
        makefile = (ROOT / "Makefile").read_text()
        return re.search(rf"^{re.escape(targets[0])}:", makefile, re.MULTILINE) is not None

    return words[0] in FOREIGN or words[0].startswith(".venv/bin/")


COMMON: Final = frozenset(option for param in group.params for option in param.opts)
EVERY_OPTION: Final = COMMON.union({"--help", "-h"}, *(own_options(name) for name in COMMANDS))
