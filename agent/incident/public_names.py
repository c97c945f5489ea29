"""Other names for environment variables, resources, process groups and classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from dsray_inspect.agent.compat import ray
from dsray_inspect.agent.detectors.evidence.interfaces import NAMES_INTERFACE
from dsray_inspect.agent.handles import ProcessHandle
from dsray_inspect.agent.incident.allowed import (
    VARIABLE_FAMILIES,
    VARIABLES,
    is_known_word,
    is_public_value,
)
from dsray_inspect.agent.incident.pseudonyms import Pseudonyms
from dsray_inspect.agent.remote.redaction import REDACTED

_HOST_VARIABLES: Final = re.compile(r"(?:.*_)?(?:ADDR|ADDRESS|HOST|HOSTNAME|IP|LIGHTHOUSE)\Z")
_RESOURCES: Final = frozenset(["CPU", "GPU", "TPU", "HPU", "NPU", "memory", "object_store_memory"])
_INTERNAL_NODE: Final = "node:__internal_head__"
_GROUP_RANKS: Final = re.compile(r"\d+(?:-\d+(?:/\d+|~[0-9a-f]{8})?)?")


class PublicNames:
    """Other names for somebody's, and what a file leaves out for want of one."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self.pseudonyms = pseudonyms
        self.dropped_variables: set[str] = set()
        self._variables: dict[tuple[str, str], tuple[str | None, str]] = {}
        """What became of a variable and its value: ranks have most of them in common."""

    def variable(self, name: str) -> str | None:
        """Return the name of an environment variable; None for one that is left out."""
        if name in VARIABLES:
            return name

        family = VARIABLE_FAMILIES.match(name)

        if family is None:
            self.dropped_variables.add(name)
            return None

        return f"{family[0]}VARIABLE_{self.pseudonyms.number('variable', name)}"

    def variables(self, given: Mapping[str, str]) -> dict[str, str]:
        known = (self._known_variable(name, value) for name, value in given.items())
        return {name: value for name, value in known if name is not None}

    def _known_variable(self, name: str, value: str) -> tuple[str | None, str]:
        found = self._variables.get((name, value))

        if found is None:
            public = self.variable(name)
            found = public, ("" if public is None else self._value(name, value))
            self._variables[name, value] = found

        return found

    def _value(self, name: str, value: str) -> str:
        if value in ("", REDACTED):
            return value

        if _HOST_VARIABLES.match(name):
            return self.pseudonyms.address(value)

        if NAMES_INTERFACE.search(name):
            return self.pseudonyms.interface(value)

        return value if self._is_plain(value) else self.pseudonyms.name("value", value)

    def _is_plain(self, value: str) -> bool:
        is_address = re.search(r"\d+\.\d+\.\d+\.\d+", value) is not None
        return not is_address and "/" not in value and is_public_value(value)

    def setting(self, value: str) -> str:
        """Return the value of one of DeepSpeed's settings."""
        if value == REDACTED or self._is_plain(value):
            return value

        return self.pseudonyms.name("value", value)

    def resource(self, name: str) -> str:
        """Return the name of one of Ray's resources."""
        if name in _RESOURCES or name == _INTERNAL_NODE:
            return name

        kind, colon, what = name.partition(":")

        if kind == "node" and colon:
            return f"node:{self.pseudonyms.host(what)}"

        if kind == "accelerator_type" and re.fullmatch(r"[A-Z0-9-]{1,16}", what):
            return name

        base = name.partition("_group_")[0]
        is_bundle = base != name and base in _RESOURCES
        return (
            f"{base}_{self.pseudonyms.name('bundle', name)}"
            if is_bundle
            else (self.pseudonyms.name("resource", name))
        )

    def group(self, name: str) -> str:
        """Return the name of a process group; torch's own are numbers."""
        is_public = name.isdigit() or name in ("default_pg", "undefined")
        return name if is_public else self.pseudonyms.name("group", name)

    def group_id(self, value: str) -> str:
        name, colon, ranks = value.rpartition(":")

        if _GROUP_RANKS.fullmatch(ranks) is None:
            return self.pseudonyms.name("group", value)

        return f"{self.group(name)}{colon}{ranks}"

    def class_name(self, name: str) -> str:
        is_rays = name in (ray.SPLIT_COORDINATOR, "TrainController", "RayTrainWorker")
        return name if is_rays else self.pseudonyms.name("class", name)

    def module(self, name: str) -> str:
        is_public = name.partition(".")[0] == "ray" and all(map(is_known_word, name.split(".")))
        return name if is_public or not name else self.pseudonyms.name("module", name)

    def whole(self, published: Any, value: Any) -> Any:
        """Return a record with what no rule for a single field can decide."""
        if isinstance(value, ProcessHandle) and value.module.startswith("ray."):
            modules = (ray.V1_MODULE, ray.V2_MODULE)
            head = next((module for module in modules if value.module.startswith(module)), "ray")
            is_public = re.fullmatch(r"\w+", value.class_name) is not None
            name = value.class_name if is_public else published.class_name
            return msgspec.structs.replace(published, module=head, class_name=name)

        return published
