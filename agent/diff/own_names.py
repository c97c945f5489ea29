"""Names and numbers that each run makes up, as equal marks in the texts of both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.model import Snapshot

_SHORTEST: Final = 3
"""A shorter name may be a part of anything."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T_ -]\d\d[-:.]?\d\d[-:.]?\d\d)?(?:[._]\d+)*")
_UNIX_TIME: Final = re.compile(r"(?<![\w.])1[6-9]\d{8}(?:\.\d+)?(?![\w.])")
_ID: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{12,})"
    r"(?![0-9A-Za-z])"
)
_PORT: Final = re.compile(r"(?<=[\w\]>]):\d{3,5}(?!\d)")
_TEMPORARY: Final = re.compile(r"(?:/tmp|/var/tmp|/dev/shm|/run/user/\d+)(?=/)")
_PATH: Final = re.compile(r"/[^\s:;,'\"=]+")
_NUMBERED: Final = re.compile(r"\d{4,}|(?<![0-9A-Za-z])[0-9a-f]{8,}(?![0-9A-Za-z])")
_MKDTEMP: Final = re.compile(r"(?P<head>tmp|.*[-_.]|)(?P<made_up>[a-z0-9_]{8})")
"""How Python names a temporary file or folder."""
PSEUDONYM: Final = re.compile(
    r"(?<![\w-])(?:GPU|address|bundle|cgroup|class|config|file|function|gpu|group|holder|host|id"
    r"|interface|job|library|module|name|namespace|ray-job|resource|run|setting|text|value|word"
    r")-\d+(?:\.py|\.so)?(?![\w-])|198\.1[89]\.\d+\.\d+"
)
"""What a public file has in place of somebody's names."""


class OwnNames:
    """What one side calls its hosts and itself, to be taken out of its texts."""

    def __init__(self, side: Side) -> None:
        hosts = _hosts(side.last)
        self._hosts = _pattern(hosts)
        self._places = {name: place for place, names in reversed(hosts) for name in names}
        self._selves = _pattern([(0, _selves(side.last))])
        self._temporary = _temporary_folder(side)

    def without_hosts(self, text: str) -> str:
        """Return a text whose hosts are numbered by their first ranks."""
        if self._hosts is None:
            return text

        return self._hosts.sub(lambda found: f"<host {self._places[found[0]]}>", text)

    def without_ports(self, text: str) -> str:
        return _PORT.sub(":<port>", text)

    def without_made_up(self, text: str) -> str:
        """Return a text without ids, times, the run's own names, and numbers in temporary paths."""
        if self._selves is not None:
            text = self._selves.sub("<run>", text)

        text = _ID.sub("<id>", _UNIX_TIME.sub("<time>", _TIME.sub("<time>", text)))
        return self._without_temporary(text)

    def _without_temporary(self, text: str) -> str:
        if self._temporary:
            text = text.replace(self._temporary, "/tmp")

        return _PATH.sub(
            lambda found: (
                _NUMBERED.sub("<number>", found[0]) if _TEMPORARY.match(found[0]) else found[0]
            ),
            text,
        )


def equal_but_for_temporary(one: str, other: str) -> bool:
    """Return whether texts differ only in what Python calls temporary files and folders."""
    if one == other:
        return True

    parts = list(zip(one.split("/"), other.split("/"), strict=False))
    has_root = _TEMPORARY.search(one) is not None and _TEMPORARY.search(other) is not None
    return (
        has_root
        and one.count("/") == other.count("/")
        and all(mine == theirs or _are_made_up(mine, theirs) for mine, theirs in parts)
    )


def _are_made_up(one: str, other: str) -> bool:
    mine, theirs = _MKDTEMP.fullmatch(one), _MKDTEMP.fullmatch(other)
    return mine is not None and theirs is not None and mine["head"] == theirs["head"]


def _pattern(places: list[tuple[int, list[str]]]) -> re.Pattern[str] | None:
    names = sorted((name for _, names in places for name in names), key=len, reverse=True)
    joined = "|".join(map(re.escape, names))
    return re.compile(rf"(?<![\w-])(?:{joined})(?![\w-])") if names else None


def _hosts(snapshot: Snapshot) -> list[tuple[int, list[str]]]:
    """Return the names and the address of each host, in the order of their first ranks."""
    ordered = sorted(
        (worker.rank, worker.node_id) for worker in snapshot.workers if worker.rank is not None
    )
    places = {node_id: place for place, node_id in enumerate(dict.fromkeys(n for _, n in ordered))}
    found: dict[int, list[str]] = {}

    for node in snapshot.nodes:
        place = places.setdefault(node.node_id, len(places))
        names = {node.hostname, node.ip, node.node_id}
        found[place] = [name for name in names if len(name) >= _SHORTEST or name == node.hostname]

    return [(place, [name for name in names if name]) for place, names in sorted(found.items())]


def _selves(snapshot: Snapshot) -> list[str]:
    return [name for name in _names_of(snapshot) if name and len(name) >= _SHORTEST]


def _names_of(snapshot: Snapshot) -> Iterator[str | None]:
    yield from (snapshot.job.submission_id, snapshot.job.job_id)

    if snapshot.run is not None:
        yield from (snapshot.run.id, snapshot.run.name, snapshot.run.attempt)


def _temporary_folder(side: Side) -> str:
    """Return where the ranks have their temporary files, "" for where everybody has them."""
    for worker in side.last.workers:
        if "TMPDIR" in worker.env:
            folder = worker.env["TMPDIR"].value.rstrip("/")
            return folder if folder.startswith("/") and folder.count("/") > 1 else ""

    return ""
