"""`dsray-inspect diff`: what two runs differ in, or one run at two moments."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import click

from dsray_inspect.agent.commands._support.exit_code import exit_code_of
from dsray_inspect.agent.commands._support.from_file import say_what_is_missing
from dsray_inspect.agent.commands._support.options import (
    Options,
    common_options,
    local_option,
    options_of,
    print_message,
)
from dsray_inspect.agent.commands._support.output import Printer
from dsray_inspect.agent.diff.compare import compare
from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.differences import DiffDocument
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.incident.publishing import Publisher
from dsray_inspect.agent.incident.sides import (
    Target,
    is_public,
    side_of_file,
    side_of_job,
    target_of,
)
from dsray_inspect.agent.session import Session


@click.command("diff", short_help="Show what two runs differ in, or one run at two moments.")
@click.argument("a")
@click.argument("b")
@local_option
@common_options
def command(a: str, b: str, **given: Any) -> ExitCode:
    """Show what A and B differ in: environment, DeepSpeed config, versions, verdict, where ranks
    stand, nodes, GPUs and figures, what matters first.

    A and B are incident files that `record` wrote, or running jobs. FILE@first, FILE@last and
    FILE@2.5s are moments of a file: its first sample, its last, and the one nearest to 2.5 seconds
    after the first. Ranks are matched by their numbers. What differs in any two runs, such as ports,
    pids and ids, is only named.

    Exits with 0 if nothing differs that matters, and with 1 if something does.
    """
    options = options_of(given)
    printer = Printer(DiffDocument, options)
    targets = target_of(a), target_of(b)
    sides = _Sides(options, targets)

    with ExitStack() as stack:
        first, second = (sides.side_of(target, stack) for target in targets)

    for side in (first, second):
        exit_code_of(side.last)  # Raises if nothing could be read.

    document = compare(first, second)
    printer.print(document)
    return ExitCode.FINDINGS if document.differences else ExitCode.OK


class _Sides:
    """Opens both sides; a public file is compared with what the other side would have in one."""

    def __init__(self, options: Options, targets: tuple[Target, Target]) -> None:
        self._options = options
        self._session: Session | None = None
        paths = [target.path for target in targets if target.path is not None]
        self._is_any_public = any(is_public(path) for path in paths)

        if options.local and len(paths) == len(targets):
            raise UsageError(
                "--local is for ranks on this machine, and both sides are files.",
                help_text="Leave out --local.",
            )

    def side_of(self, target: Target, stack: ExitStack) -> Side:
        if target.path is not None:
            publisher = Publisher() if self._is_to_publish(target) else None
            side, found = side_of_file(target, target.path, publisher=publisher)
            say_what_is_missing(target.path, found, self._options)
            return side

        if self._session is None:
            address = self._options.choose_address()
            self._session = stack.enter_context(Session(address, self._options.hint(None)))

        print_message(self._options, f"Taking samples of {target.given} …")
        request = self._options.request(recorder="always", counters=True, start=True)
        publisher = Publisher() if self._is_any_public else None
        return side_of_job(self._session, target, request, publisher=publisher)

    def _is_to_publish(self, target: Target) -> bool:
        assert target.path is not None
        return self._is_any_public and not is_public(target.path)
