"""One function of a class that is to be probed, and how it is put in and taken out (stdlib only)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from dsray_inspect.agent.probes.wrapper import Measure


class Target:
    """A function by the names of its module, class and attribute."""

    def __init__(
        self,
        module: str,
        owner: str,
        name: str,
        code: int,
        *,
        of_engine: bool = False,
        advances: bool = False,
        measure: Measure | None = None,
        on_device: bool = False,
        subclasses: bool = False,
        inherited: bool = False,
        part_of: str | None = None,
    ) -> None:
        self.module = module
        self.owner = owner
        self.name = name
        self.code = code
        self.of_engine = of_engine
        self.advances = advances
        self.measure = measure
        self.on_device = on_device
        self.subclasses = subclasses
        """Whether subclasses that have their own are probed too."""
        self.inherited = inherited
        """Whether the named class only inherits it: what else inherits it stays as it is."""
        self.part_of = part_of
        """What is true of its first argument while a probed call that covers this one goes on."""

    def __repr__(self) -> str:
        return f"{self.owner}.{self.name}"

    def owners(self) -> Iterator[type]:
        """Yield the classes to be patched: the named one and its subclasses, as far as they define
        the function.
        """
        owner = getattr(sys.modules.get(self.module), self.owner, None)

        if isinstance(owner, type):
            found = [owner]

            for one in found:
                is_heir = self.inherited and one is owner and hasattr(one, self.name)

                if self.name in vars(one) or is_heir:
                    yield one

                if self.subclasses:
                    below: list[type] = type.__subclasses__(one)
                    found += [sub for sub in below if sub not in found]


class Patch:
    """One wrapper in its place."""

    def __init__(self, owner: type, name: str, original: Any) -> None:
        self.owner = owner
        self.name = name
        self.original = original
        self.ours: Any = None
        self._inherited = name not in vars(owner)

    def put_in(self, ours: Any) -> None:
        self.ours = ours
        setattr(self.owner, self.name, ours)

    def take_out(self) -> bool:
        """Put the original back; where somebody has put his own on ours, that one stays.

        Ours is then called by his, and does nothing.
        """
        if vars(self.owner).get(self.name) is not self.ours:
            return False

        if self._inherited:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)

        return True

    def step_aside(self) -> None:
        """Do so from within a call of the job."""
        with contextlib.suppress(Exception):
            self.take_out()


def put_in(target: Target, wrap: Callable[[Any, Patch], Any]) -> tuple[list[Patch], list[str]]:
    """Return the patches of a target, and why there is none where there is none."""
    patches, missing = [], []

    for owner in target.owners():
        original = next(vars(one)[target.name] for one in owner.__mro__ if target.name in vars(one))
        patch = Patch(owner, target.name, original)

        if not isinstance(patch.original, FunctionType):
            missing.append(f"{owner.__name__}.{target.name} is no plain function")
            continue

        try:
            patch.put_in(wrap(patch.original, patch))
        except Exception as error:
            missing.append(f"{owner.__name__}.{target.name}: {type(error).__name__}: {error}"[:200])
        else:
            patches.append(patch)

    if not patches and not missing:
        missing.append(f"{target!r} is not in this process")

    return patches, missing
