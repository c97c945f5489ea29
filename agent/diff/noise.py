"""Which differences say nothing: what any two runs differ in, and what follows from their sizes."""

from __future__ import annotations

import re
from typing import Final

from dsray_inspect.agent.diff.fact import Fact, Key
from dsray_inspect.agent.diff.own_names import PSEUDONYM, OwnNames, equal_but_for_temporary
from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.differences import Because, Kind
from dsray_inspect.agent.environment import Standing, standing_of
from dsray_inspect.agent.remote.redaction import REDACTED

_PORT_NAME: Final = re.compile(r"(?:\w*_)?PORT\Z")
_PID_NAME: Final = re.compile(r"(?:\w*_)?PID\Z")
_NUMBERED_NAME: Final = re.compile(r"\w+_VARIABLE_\d+|setting-\d+")
"""A name that a public file gives to what it does not know."""
_SIZES: Final = frozenset(
    "WORLD_SIZE LOCAL_WORLD_SIZE LOCAL_RANK NODE_RANK GROUP_RANK GROUP_WORLD_SIZE ROLE_WORLD_SIZE "
    "LOCAL_SIZE CROSS_SIZE PET_NNODES PET_NPROC_PER_NODE SLURM_NTASKS SLURM_NNODES "
    "SLURM_JOB_NUM_NODES ACCELERATE_TORCH_DEVICE OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_LOCAL_SIZE "
    "OMPI_COMM_WORLD_LOCAL_RANK".split()
)
"""Variables that say how many ranks there are, and where."""
_SIZE_SETTINGS: Final = ("world_size", "train_batch_size")
_BY_STANDING: Final[dict[Standing, Because]] = {
    "per_process": "per_process",
    "per_node": "per_node",
    "ray_session": "ray_session",
    "device": "device",
    "mpi": "per_process",
}
_CUT: Final = "…"
_WITH_TEXT: Final[tuple[Kind, ...]] = ("env", "config", "command")
"""Kinds whose values may hold hosts, ports, ids and paths."""
_MAY_BE_HIDDEN: Final[tuple[Kind, ...]] = (*_WITH_TEXT, "version", "place")


class Noise:
    """The rules, for two sides."""

    def __init__(self, a: Side, b: Side) -> None:
        self._names = OwnNames(a), OwnNames(b)
        self._is_resized = a.world_size() != b.world_size()
        self._is_replaced = a.pseudonyms != b.pseudonyms
        self._known: dict[tuple[str, str], Because | None] = {}
        """Of texts that were compared: ranks have most of them in common."""

    def hidden(self, key: Key, mine: Fact | None, theirs: Fact | None) -> str | None:
        """Return why two facts cannot be compared, None where they can."""
        if key.kind not in _MAY_BE_HIDDEN:
            return None

        if self._is_replaced and _NUMBERED_NAME.fullmatch(key.name):
            return "names are replaced in a public file"

        if mine is None or theirs is None:
            return None

        one, other = mine.value.text, theirs.value.text

        if REDACTED in one and one == other:
            return "redacted on both sides"

        if one != other and (_is_cut(one, other) or _is_cut(other, one)):
            return "too long, and cut off"

        is_hidden = self._is_replaced and _differ_in_pseudonyms(one, other)
        return "names are replaced in a public file" if is_hidden else None

    def because(self, key: Key, mine: Fact | None, theirs: Fact | None) -> Because | None:
        """Return why a difference says nothing, None where it may say something."""
        if key.kind == "env":
            by_name = _of_variable(key.name, mine, theirs)

            if by_name is not None:
                return by_name

        if key.kind == "group" and (mine is None or theirs is None):
            return "moment"  # a group is known as long as its collectives are recorded

        if self._is_resized and _follows_from_size(key, mine, theirs):
            return "world_size"

        if mine is None or theirs is None or key.kind not in _WITH_TEXT:
            return None

        texts = (mine.value.text, theirs.value.text)

        if texts not in self._known:
            self._known[texts] = self._of_texts(*texts)

        return self._known[texts]

    def _of_texts(self, mine: str, theirs: str) -> Because | None:
        """Return what has to be taken out of two texts until they are equal."""
        a, b = self._names
        one, other = a.without_hosts(mine), b.without_hosts(theirs)

        if one == other:
            return "host"

        one, other = a.without_ports(one), b.without_ports(other)

        if one == other:
            return "port"

        one, other = a.without_made_up(one), b.without_made_up(other)
        return "made_up" if equal_but_for_temporary(one, other) else None


def _differ_in_pseudonyms(one: str, other: str) -> bool:
    """Return whether both have pseudonyms, and nothing else that differs."""
    is_named = PSEUDONYM.search(one) is not None and PSEUDONYM.search(other) is not None
    return is_named and PSEUDONYM.sub("", one) == PSEUDONYM.sub("", other)


def _is_cut(short: str, other: str) -> bool:
    return short.endswith(_CUT) and other.startswith(short.removesuffix(_CUT))


def _of_variable(name: str, mine: Fact | None, theirs: Fact | None) -> Because | None:
    standing = standing_of(name)

    if standing in _BY_STANDING and not (
        standing == "device" and _devices(mine) != _devices(theirs)
    ):
        return _BY_STANDING[standing]

    if mine is None or theirs is None:
        return None

    texts = (mine.value.text, theirs.value.text)

    if texts[0] == texts[1]:
        return "owner"

    if not all(text.isdigit() for text in texts):
        return None

    if _PORT_NAME.match(name):
        return "port"

    return "per_process" if _PID_NAME.match(name) else None


def _follows_from_size(key: Key, mine: Fact | None, theirs: Fact | None) -> bool:
    if key.kind == "env":
        return key.name in _SIZES or standing_of(key.name) == "device"

    if key.kind == "config":
        return key.name in _SIZE_SETTINGS

    if key.kind == "node":
        is_placement = key.name == "placement" and mine is not None and theirs is not None
        return is_placement and _nodes(mine) == _nodes(theirs)

    return key.kind == "group"


def _devices(fact: Fact | None) -> int | None:
    return None if fact is None else len([part for part in fact.value.text.split(",") if part])


def _nodes(fact: Fact | None) -> int:
    return len(fact.same) if fact is not None and isinstance(fact.same, tuple) else 0
