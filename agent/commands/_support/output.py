"""Where a command's data goes: one renderer, and stdout."""

from __future__ import annotations

import sys
from typing import Final, Generic, TypeVar

import click

from dsray_inspect.agent.commands._support.options import Options
from dsray_inspect.agent.formats import Renderer, renderer_of
from dsray_inspect.agent.text.style import PLAIN, Style

TEXT: Final = "text"

_DocumentT = TypeVar("_DocumentT")


class Printer(Generic[_DocumentT]):
    """Prints documents of one type to stdout in the format that the user asked for.

    Make it before anything slow is done: it rejects a format that the document does not have.
    """

    def __init__(
        self, document_type: type[_DocumentT], options: Options, *, default: str = TEXT
    ) -> None:
        """Choose the renderer.

        Raises:
            UsageError: The document has no such format.
        """
        self.format = options.format or default
        self._color = options.color
        self._render: Renderer[_DocumentT] = renderer_of(document_type, self.format)

    def rendered(self, document: _DocumentT) -> bytes:
        """Return the document as it is written to a file."""
        rendered = self._render(document, PLAIN)
        return rendered if isinstance(rendered, bytes) else f"{rendered}\n".encode()

    def print(self, document: _DocumentT) -> None:
        rendered = self._render(document, Style(color=self._color))

        if isinstance(rendered, bytes):
            sys.stdout.buffer.write(rendered)
        elif rendered:
            click.echo(rendered, color=self._color)

        sys.stdout.flush()
