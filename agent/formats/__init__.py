"""Output formats: each module in this package is a format, named as `--format` names it.

A module registers one renderer per document that it can show:

    @renders(EnvDocument)
    def render_env(document: EnvDocument, style: Style) -> str: ...

A format's module is imported when the format is asked for, so that what it needs, such as an
optional package, costs nobody else anything. `documents.py` has the documents.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.text.style import Style

_DocumentT = TypeVar("_DocumentT")
_DocumentT_contra = TypeVar("_DocumentT_contra", contravariant=True)


class Renderer(Protocol[_DocumentT_contra]):
    """Returns a document as text, which gets a line end when printed, or as exact bytes."""

    def __call__(self, document: _DocumentT_contra, style: Style, /) -> str | bytes: ...


_RendererT = TypeVar("_RendererT", bound=Callable[..., str | bytes])
_renderers: Final[dict[tuple[type, str], Renderer[Any]]] = {}
"""By document and format."""


def renders(document_type: type) -> Callable[[_RendererT], _RendererT]:
    """Register a function as the renderer of a document in the format that its module is."""

    def register(renderer: _RendererT) -> _RendererT:
        name = renderer.__module__.rpartition(".")[2]
        _renderers[document_type, name] = renderer
        return renderer

    return register


def renderer_of(document_type: type[_DocumentT], name: str) -> Renderer[_DocumentT]:
    """Return the renderer of a document in a format.

    Raises:
        UsageError: The document has no such format, or the format needs a missing package.
    """
    if name in _names():
        try:
            _load(name)
        except ModuleNotFoundError as error:
            raise UsageError(
                f"The format {name} needs the package {error.name}, which is not installed.",
                help_text="pip install 'dsray-inspect[all]'",
            ) from error

    renderer = _renderers.get((document_type, name))

    if renderer is None:
        raise UsageError(
            f"This command has no format {name}; it has {_enumerated(formats_of(document_type))}.",
            help_text=f"For example, --format {formats_of(document_type)[0]}",
        )

    return renderer


def formats_of(document_type: type) -> tuple[str, ...]:
    """Return the names of a document's formats, in alphabetical order."""
    for name in _names():
        try:
            _load(name)
        except ModuleNotFoundError:
            continue

    return tuple(sorted(name for document, name in _renderers if document is document_type))


def _load(name: str) -> None:
    importlib.import_module(f"{__name__}.{name}")


def _names() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _enumerated(names: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
