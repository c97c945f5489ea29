"""Every error that the code can raise, as a pattern that its text matches."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from dsray_inspect.agent import errors
from tests.docs.pages import ROOT

ERRORS: Final = frozenset(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.InspectError)
)
ANYTHING: Final = "\0"
LEAST_WORDS: Final = 3
"""A pattern with fewer words of its own would match any sentence."""
_DEPTH = 6


@cache
def error_patterns() -> tuple[re.Pattern[str], ...]:
    """Return a pattern for each message and each help text of an error."""
    source = _Source([*(ROOT / folder for folder in ("agent", "dashboards", "exporters", "tui"))])
    texts = {
        line.strip()
        for call in source.raised()
        for text in source.texts_of_call(call)
        for line in text.split("\n")
    }
    return tuple(
        re.compile(".+".join(re.escape(part) for part in text.split(ANYTHING)), re.DOTALL)
        for text in texts
        if len(re.findall(r"\w{2,}", text)) >= LEAST_WORDS
    )


def can_be_printed(line: str) -> bool:
    return any(pattern.fullmatch(line) for pattern in error_patterns())


class _Source:
    """All modules; what a name is assigned and what a function returns, by name alone."""

    def __init__(self, folders: list[Path]) -> None:
        self.trees = [ast.parse(file.read_text()) for at in folders for file in at.rglob("*.py")]
        self.values: dict[str, list[ast.expr]] = {}

        for node in (node for tree in self.trees for node in ast.walk(tree)):
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._assign(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, value)
            case ast.FunctionDef(name=name):
                returns = (found for found in ast.walk(node) if isinstance(found, ast.Return))
                self.values.setdefault(name, []).extend(
                    found.value for found in returns if found.value is not None
                )

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.values.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Attribute):
            self.values.setdefault(target.attr, []).append(value)
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for name, part in zip(target.elts, value.elts, strict=False):
                self._assign(name, part)

    def raised(self) -> Iterator[ast.Call]:
        for node in (node for tree in self.trees for node in ast.walk(tree)):
            if isinstance(node, ast.Call) and _name(node.func) in {*ERRORS, "Problem"}:
                yield node

    def texts_of_call(self, call: ast.Call) -> Iterator[str]:
        for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
            yield from self.texts(argument)

    def texts(self, node: ast.expr, depth: int = 0) -> list[str]:
        """Return what an expression may be, with `ANYTHING` for each part that is not known."""
        if depth > _DEPTH:
            return [ANYTHING]

        match node:
            case ast.Constant(value=str(text)):
                return [re.sub(r"\{\w+\}", ANYTHING, text)]
            case ast.JoinedStr(values=parts):
                return ["".join(_constant(part) for part in parts)]
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return [
                    first + second
                    for first in self.texts(left, depth + 1)
                    for second in self.texts(right, depth + 1)
                ]
            case ast.IfExp(body=body, orelse=orelse):
                return [*self.texts(body, depth + 1), *self.texts(orelse, depth + 1)]
            case ast.BoolOp(values=values):
                return [text for value in values for text in self.texts(value, depth + 1)]
            case ast.Tuple(elts=elements):
                return [text for element in elements for text in self.texts(element, depth + 1)]
            case ast.Name() | ast.Attribute() | ast.Call():
                name = _name(node.func if isinstance(node, ast.Call) else node)
                known = self.values.get(name, [])
                return [text for value in known for text in self.texts(value, depth + 1)] or [
                    ANYTHING
                ]

        return [ANYTHING]


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name

    return ""


def _constant(part: ast.expr) -> str:
    return (
        part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ANYTHING
    )
