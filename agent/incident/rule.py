"""What a field of a record becomes in a public file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from dsray_inspect.agent.incident.public_names import PublicNames


class Rule:
    """What a field becomes; with `goes_on`, values of a mapping have fields of their own."""

    def __init__(self, make: Callable[[PublicNames, Any], Any], *, goes_on: bool = False) -> None:
        self._make = make
        self.goes_on = goes_on

    def __call__(self, names: PublicNames, value: Any) -> Any:
        return self._make(names, value)


def named(kind: str) -> Rule:
    return Rule(lambda names, value: names.pseudonyms.name(kind, value))


def short_id(kind: str) -> Rule:
    return Rule(lambda names, value: names.pseudonyms.short_id(kind, value))


def keyed(kind: str) -> Rule:
    """Rename the keys of a mapping to records."""
    return Rule(
        lambda names, value: {
            names.pseudonyms.short_id(kind, key): item for key, item in value.items()
        },
        goes_on=True,
    )


def only(pattern: re.Pattern[str], other: str = "") -> Rule:
    return Rule(lambda _names, value: value if pattern.fullmatch(value) else other)


def among(listed: frozenset[str], other: str | None) -> Rule:
    return Rule(
        lambda _names, value: value if not isinstance(value, str) or value in listed else other
    )


def each(rule: Rule) -> Rule:
    return Rule(lambda names, value: type(value)(rule(names, item) for item in value))


def always(value: Any) -> Rule:
    return Rule(lambda _names, _value: value)
