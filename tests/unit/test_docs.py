"""The manual is true: its commands parse, its errors exist, its examples are what is printed."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from dsray_inspect.agent.cli import COMMANDS
from dsray_inspect.agent.doctor.snippets import KUBERAY_PTRACE, kuberay_sidecar
from dsray_inspect.agent.errors import ExitCode
from dsray_inspect.agent.model import Phase
from tests.docs.commands import (
    COMMON,
    EVERY_OPTION,
    DoesNotParse,
    check,
    command_lines,
    is_foreign,
    options_in,
    own_options,
)
from tests.docs.examples import EXAMPLES, rendered
from tests.docs.messages import can_be_printed
from tests.docs.pages import (
    PAGES,
    ROOT,
    Block,
    anchors,
    blocks,
    inline_code,
    links,
    read,
    with_examples,
)

RECIPES = (
    *("a cause", "a fact to a sample", "a Ray version", "an output format", "a launcher"),
    "a tool for agents",
)


def page_of(command: str) -> str:
    return f"docs/commands/{command}.md"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_parses(page: str) -> None:
    for line in command_lines(page):
        check(line)


@pytest.mark.parametrize(
    "line",
    [
        "dsray-inspect attack",
        "dsray-inspect attach --no-such-option",
        "dsray-inspect stacks j47 --rank one",
        "dsray-inspect submit python train.py",
    ],
)
def test_what_is_no_command_does_not_parse(line: str) -> None:
    with pytest.raises(DoesNotParse):
        check(line)


@pytest.mark.parametrize("page", PAGES)
def test_every_error_can_be_printed(page: str) -> None:
    lines = [line for block in blocks(page) for line in errors_of(block)]
    unknown = [line for line in lines if not can_be_printed(line)]
    assert unknown == [], "no code raises these: correct the page"


def errors_of(block: Block) -> list[str]:
    """Return the messages, and the help below each."""
    found = []

    for line, following in zip(block.lines, [*block.lines[1:], ""], strict=True):
        if line.startswith("error: "):
            found.append(line.removeprefix("error: "))
            found += [following.strip()] if following.startswith("  ") else []

    return found


def test_an_error_that_no_code_raises_is_found() -> None:
    assert not can_be_printed("This sentence stands in no module of this project.")
    assert can_be_printed("There is no rank 9 in this run (ranks: 0 to 2).")


@pytest.mark.parametrize("page", PAGES)
def test_examples_are_what_is_printed(page: str) -> None:
    assert with_examples(read(page), rendered()) == read(page), "run `make docs`"


def test_every_example_is_shown() -> None:
    shown = {block.example for page in PAGES for block in blocks(page)}
    assert set(EXAMPLES) == shown - {None}


@pytest.mark.parametrize("page", PAGES)
def test_a_block_without_a_mark_holds_commands_and_errors_only(page: str) -> None:
    for block in blocks(page):
        if block.example is None and block.language == "":
            body = block.body.replace("\\\n", " ").rstrip("\n")
            errors = errors_of(block)
            other = [
                line
                for line in body.split("\n")
                if line.removeprefix("error: ").strip() not in errors
                and "dsray-inspect " not in line
                and not is_foreign(line)
            ]
            assert other == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_every_option_of_its_command_and_no_other(name: str) -> None:
    own = own_options(name)
    text = read(page_of(name))
    assert [option for option in sorted(own) if f"`{option}" not in text] == []
    known = own | COMMON | {"--help"}
    listed = re.findall(r"^\| (`-.*?) \|", text, re.MULTILINE)
    assert [option for row in listed for option in options_in(row) if option not in known] == []


def test_the_common_options_are_on_the_page_of_attach() -> None:
    text = read(page_of("attach"))
    assert [option for option in sorted(COMMON - {"--version"}) if f"`{option}" not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_option_that_is_mentioned_exists(page: str) -> None:
    for code in inline_code(page):
        first, _, rest = code.partition(" ")

        if first in COMMANDS:
            known = own_options(first) | COMMON
            unknown = [option for option in options_in(rest) if option not in known]
        elif first.startswith("-"):
            unknown = [option for option in options_in(code) if option not in EVERY_OPTION]
        else:
            continue

        assert unknown == [] or page == page_of("submit"), code


def test_the_readme_has_every_command_and_exit_code() -> None:
    readme = read("README.md")
    assert [name for name in COMMANDS if f"({page_of(name)})" not in readme] == []
    codes = re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)
    assert [int(code) for code in codes] == sorted(ExitCode)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_exit_codes_of_a_page_exist(name: str) -> None:
    codes = re.findall(r"^\| (\d+) \|", read(page_of(name)), re.MULTILINE)
    assert {int(code) for code in codes} <= set(ExitCode)


def test_every_phase_is_explained() -> None:
    text = read("docs/how-it-works.md").partition("## Phases")[2].partition("\n## ")[0]
    assert [phase for phase in get_args(Phase) if f"`{phase}`" not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in links(page):
        path, _, heading = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not heading or heading in anchors(file), target


@pytest.mark.parametrize("advice", [KUBERAY_PTRACE, kuberay_sidecar(1000)])
def test_the_readme_says_what_the_doctor_says(advice: str) -> None:
    assert advice in read("README.md")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_names_files_that_exist(recipe: str) -> None:
    text = read("CONTRIBUTING.md").partition(f"## How to add {recipe}\n")[2].partition("\n## ")[0]
    assert text
    named = re.findall(r"`((?:agent|exporters|dashboards|tui|tests|docs)/[\w./-]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/how-it-works.md"])
def test_evidence_has_names_not_numbers(page: str) -> None:
    examples = dict.fromkeys(EXAMPLES, "")
    assert re.findall(r"\brungs? \d\w?", with_examples(read(page), examples)) == []
