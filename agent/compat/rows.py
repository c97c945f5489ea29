"""The kinds of rows on the shelves: what a name is, and where the package must have it.

A row is the annotation of a constant, so that the constant itself stays a plain value that can
be sent to other processes:

    MAIN_LOOP: Annotated[Function, Functions("Ray's task loop", since="2.40")] = ("main_loop", FILE)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Function = tuple[str, str]
"""A function's name and its file, as a path that begins with the package."""
Method = tuple[str, str, str]
"""A module, a class in it, and a method of that class."""


class FileFunctions(NamedTuple):
    """Functions of one file; all of them where `names` is empty."""

    path: str
    names: str = ""
    """Function names, separated by spaces."""
    since: str = ""
    until: str = ""


class FrameRule(NamedTuple):
    """What a frame says about its rank: a function, in a file, and the phase it stands for."""

    phase: str
    paths: str
    """Patterns of paths that begin with the package, separated by spaces."""
    names: str = ""
    """Patterns of function names, separated by spaces; empty for every function of the file."""
    since: str = ""
    until: str = ""


@dataclass(frozen=True)
class Row:
    """What every row says of its name.

    Attributes:
        use: What dsray-inspect uses the name for.
        since: The first version that has it; empty where every supported version has it.
        until: The last version that has it.
        verified: The versions it was verified on, where these are not the shelf's `VERIFIED`.
    """

    use: str
    since: str = ""
    until: str = ""
    verified: tuple[str, ...] = ()


@dataclass(frozen=True)
class Files(Row):
    """The value is one path, or several, of files or folders in the package."""


@dataclass(frozen=True)
class FilePatterns(Row):
    """The value is one pattern, or several, of which each fits a path in the package."""


@dataclass(frozen=True)
class Functions(Row):
    """The value is one `Function`, or several, or `FileFunctions`."""


@dataclass(frozen=True)
class FrameRules(Row):
    """The value is `FrameRule`s; each of their patterns fits something in the package."""


@dataclass(frozen=True)
class Methods(Row):
    """The value is one `Method`, or several."""


@dataclass(frozen=True)
class Modules(Row):
    """The value is one module, or several, by its dotted name."""


@dataclass(frozen=True)
class Names(Row):
    """The value is names that the source in `files` defines, assigns or reads as identifiers.

    With several names any one of them is enough where `any_of` is set.
    """

    files: tuple[str, ...] = ()
    any_of: bool = False


@dataclass(frozen=True)
class AttributePaths(Row):
    """The value is one dotted path of attributes, or several by what they give, known in `files`."""

    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Texts(Row):
    """The value is text that occurs in `files`, compiled ones included."""

    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fields(Row):
    """The value is the fields of protobuf messages, by message, by message."""


@dataclass(frozen=True)
class EnumValues(Row):
    """The value is one name, or several, of a protobuf enum."""

    enum: str = ""


@dataclass(frozen=True)
class Convention(Row):
    """A rule that no single name of the package stands for; `tests/compat` does not look for it."""
