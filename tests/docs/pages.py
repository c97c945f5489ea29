"""The manual's pages: their code blocks, inline code, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = tuple(
    sorted(
        str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    )
)
_BLOCK = re.compile(
    r"^(?:<!-- example: (?P<example>[^\n]+?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s:]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced code block; `example` names what writes it."""

    example: str | None
    language: str
    body: str

    @property
    def lines(self) -> list[str]:
        return self.body.rstrip("\n").split("\n")


def read(page: str) -> str:
    return (ROOT / page).read_text()


def blocks(page: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(read(page)):
        yield Block(match["example"], match["language"], match["body"])


def inline_code(page: str) -> list[str]:
    return _INLINE.findall(_BLOCK.sub("", read(page)))


def links(page: str) -> list[str]:
    """Return the relative links of a page."""
    return _LINK.findall(_BLOCK.sub("", read(page)))


def anchors(page: Path) -> set[str]:
    """Return the anchors GitHub gives to the page's headings."""
    headings = _HEADING.findall(_BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def with_examples(text: str, rendered: dict[str, str]) -> str:
    """Return a page with each marked block's output replaced; its `$ ` lines stay."""

    def replaced(match: re.Match[str]) -> str:
        name = match["example"]

        if name is None:
            return match[0]

        lines = match["body"].split("\n")
        typed = [line + "\n" for line in lines if line.startswith("$ ")]
        body = "".join(typed) + rendered[name].rstrip("\n") + "\n"
        return f"<!-- example: {name} -->\n```{match['language']}\n{body}```"

    return _BLOCK.sub(replaced, text)
