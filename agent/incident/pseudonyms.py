"""Other names for what is somebody's: the same name has the same one throughout a file."""

from __future__ import annotations

import ipaddress
import re
import sys
from typing import Final

from dsray_inspect.agent.incident.allowed import (
    INTERFACES,
    PACKAGES,
    SHARED_OBJECTS,
    SITE_FOLDER,
    STDLIB_FOLDER,
    USER_FOLDER,
    is_known_word,
)
from dsray_inspect.agent.model import OK
from dsray_inspect.agent.remote.redaction import REDACTED
from dsray_inspect.agent.stacks.layers import home

_FROZEN: Final = re.compile(r"<frozen ([\w.]+)>")
_LOOPBACK: Final = frozenset(["127.0.0.1", "::1", "0.0.0.0", "localhost"])
_EVERYBODYS_FUNCTIONS: Final = frozenset(
    "<module> <lambda> <listcomp> <genexpr> <dictcomp> <setcomp> __call__ __enter__ __exit__ "
    "__getitem__ __init__ __iter__ __next__".split()
)
_FIRST_ADDRESS: Final = int(ipaddress.IPv4Address("198.18.0.1"))
"""A range for benchmarks (RFC 2544), which no host on the internet has."""
_PIECES: Final = re.compile(
    r'File "(?P<file>[^"\n]*)", line (?P<line>\d+)(?:, in (?P<function>\S+))?'
    r"|(?P<ip>(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d\.\d))"
    r"|(?P<ip6>(?<![\w:])(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}(?![\w:]))"
    r"|(?P<path>(?:(?<![\w)])|(?<==))(?:~?/|[A-Za-z]:\\)[^\s\"',;()\[\]]+)"
    r"|(?P<hidden><redacted>)"
    r"|(?P<id>\b(?=\w*\d)[0-9a-fA-F]{8,}\b(?<!\d{8}))"
    r"|(?P<word>\w*[^\W\d]\w*(?:[.@-]+\w+)*)"
)


class Pseudonyms:
    """Gives each name of a kind a number, and keeps what it gave."""

    def __init__(self) -> None:
        self._given: dict[str, dict[str, str]] = {}
        self._known: dict[str, str] = {}
        self._texts: dict[str, str] = {}

    def counts(self) -> dict[str, int]:
        """Return how many names of each kind were replaced."""
        return {kind: len(names) for kind, names in sorted(self._given.items())}

    def name(self, kind: str, value: str) -> str:
        """Return "host-1" for the first host, and so on; what has a pseudonym keeps it."""
        if not value or value in self._known:
            return self._known.get(value, value)

        names = self._given.setdefault(kind, {})
        names[value] = self._known[value] = f"{kind}-{len(names) + 1}"
        return names[value]

    def short_id(self, kind: str, value: str) -> str:
        """Return "n1" for the first node, and so on: ids are shown by their first characters."""
        if not value or value in self._known:
            return self._known.get(value, value)

        names = self._given.setdefault(kind, {})
        names[value] = self._known[value] = f"{kind[0]}{len(names) + 1}"
        return names[value]

    def number(self, kind: str, value: str) -> int:
        """Return which of its kind a name is, from 1; it is no pseudonym of its own."""
        names = self._given.setdefault(kind, {})
        names.setdefault(value, str(len(names) + 1))
        return int(names[value])

    def host(self, value: str) -> str:
        """Return another name of a host, whether it goes by an address or by a name."""
        if not value or value in _LOOPBACK:
            return value

        try:
            ipaddress.ip_address(value)
        except ValueError:
            return self.name("host", value)

        names = self._given.setdefault("address", {})

        if value not in names:
            names[value] = str(ipaddress.IPv4Address(_FIRST_ADDRESS + len(names)))

        return names[value]

    def address(self, value: str) -> str:
        """Return another name of a host and its port."""
        host, colon, port = value.rpartition(":")

        if colon and port.isdigit():
            return f"{self.host(host.strip('[]'))}:{port}"

        return self.host(value)

    def interface(self, value: str) -> str:
        """Return a list of network interfaces, with those that are not usual replaced."""
        names = re.split(r"([,^=]+)", value)
        return "".join(
            name
            if not name or name[0] in ",^=" or INTERFACES.match(name)
            else self.name("interface", name)
            for name in names
        )

    def path(self, value: str) -> str:
        """Return another path, of which only the part inside a public package is kept."""
        package, inside = home(value)

        if package == "python":
            return self._stdlib_file(value, inside)

        if package == "native":
            name = value.rpartition("/")[2]
            is_public = SHARED_OBJECTS.match(name) is not None
            return f"/lib/{name}" if is_public else f"{USER_FOLDER}{self.name('library', value)}.so"

        is_public = package in PACKAGES and not inside.startswith("<")
        return SITE_FOLDER + inside if is_public else self.user_file(value)

    def _stdlib_file(self, value: str, inside: str) -> str:
        """Return a file that lies where the standard library does, or has no place at all."""
        frozen = _FROZEN.fullmatch(inside)
        name = frozen[1] if frozen else inside.partition("/")[0].removesuffix(".py")

        if inside == "<string>" or (frozen and name.partition(".")[0] in sys.stdlib_module_names):
            return inside

        is_public = not frozen and name in sys.stdlib_module_names
        return STDLIB_FOLDER + inside if is_public else self.user_file(value)

    def user_file(self, value: str) -> str:
        """Return another name of a file of somebody's."""
        ending = ".py" if value.endswith((".py", ">")) else ""
        return f"{USER_FOLDER}{self.name('file', value)}{ending}"

    def function(self, value: str) -> str:
        """Return another name of a function, unless it has none of its own."""
        return value if value in _EVERYBODYS_FUNCTIONS else self.name("function", value)

    def text(self, value: str) -> str:
        """Return a sentence of which only known words and numbers are kept."""
        if not value or value == OK:
            return value

        if value not in self._texts:
            self._texts[value] = _PIECES.sub(self._piece, value)

        return self._texts[value]

    def _piece(self, found: re.Match[str]) -> str:
        if found["file"] is not None:
            return self._place(found["file"], found["line"], found["function"])

        kind, piece = found.lastgroup, found[0]

        if kind in ("ip", "ip6"):
            return self.host(piece)

        if kind == "path":
            return self.path(piece)

        if kind == "hidden":
            return REDACTED

        if kind == "id":
            return self._known.get(piece) or self.name("id", piece)

        return piece if _is_public(piece) else self._known.get(piece) or self.name("word", piece)

    def _place(self, file: str, line: str, function: str | None) -> str:
        path = self.path(file)
        is_own = path.startswith(USER_FOLDER)
        name = self.function(function) if function and is_own else function
        return f'File "{path}", line {line}' + (f", in {name}" if name else "")


def _is_public(word: str) -> bool:
    """Return whether a word is ours, or all that it is put together of is."""
    return all(part.isdigit() or is_known_word(part) for part in re.split(r"[.@-]+", word))
