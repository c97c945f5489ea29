"""Texts cut to a width, at the end that tells least, and lists wrapped to a width."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Cut = Callable[[str, int], str]
"""Returns a text in at most so many columns."""

WIDEST = 120
"""No table and no tree is wider, as long as its narrowest form fits."""
READABLE = 100
"""Where lists are wrapped."""
_LEAST_OF_CLASS = 3


def cut_end(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def cut_front(text: str, width: int) -> str:
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


def cut_middle(text: str, width: int) -> str:
    """Keep a third from the start and the rest from the end, where names of hosts differ."""
    if len(text) <= width:
        return text

    start = (width - 1) // 3
    return f"{text[:start]}…{text[len(text) - (width - 1 - start) :]}"


def cut_path(path: str, width: int) -> str:
    """Drop the folder before anything of the file's name and line."""
    return path if len(path) <= width else cut_front(path.rpartition("/")[2], width)


def cut_qualname(name: str, width: int) -> str:
    """Shorten the class before the method: the file beside it tells the class anyway."""
    owner, dot, method = name.rpartition(".")

    if len(name) <= width:
        return name

    left = width - len(dot + method) - 1

    if owner and left >= _LEAST_OF_CLASS:
        return f"{owner[:left]}…{dot}{method}"

    return method if len(method) <= width else cut_middle(method, width)


def keep_apart(names: Iterable[str], cut: Cut) -> Cut:
    """Return the same cut, made wider where it would make two names one."""
    known = set(names)
    widths: dict[int, int] = {}

    def wide_enough(name: str, width: int) -> str:
        if width not in widths:
            wider = width

            while len({cut(name, wider) for name in known}) < len(known):
                wider += 1

            widths[width] = wider

        return cut(name, widths[width])

    return wide_enough


def without_domain(hosts: Iterable[str]) -> dict[str, str]:
    """Return hosts by their first label, or as they are where two would be called the same."""
    known = set(hosts)
    short = {
        host: host if host.replace(".", "").isdigit() else host.split(".")[0] for host in known
    }
    return short if len(set(short.values())) == len(known) else {host: host for host in known}


def wrap(head: str, words: Sequence[str], separator: str, *, width: int = READABLE) -> list[str]:
    """Return the words in lines, the first after `head`, the others below its end."""
    lines = [head]
    is_empty = True

    for word in words:
        if not is_empty and len(lines[-1] + separator + word) > width:
            lines[-1] += separator.rstrip()
            lines.append(" " * len(head))
            is_empty = True

        lines[-1] += word if is_empty else separator + word
        is_empty = False

    return [line.rstrip() for line in lines]
