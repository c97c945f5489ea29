"""The functions to probe, and how wrappers are installed and removed (stdlib only)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from dsray_inspect.agent.probes.wrapper import Measure


class Target:
    """A function to probe, by the names of its module, class and attribute."""

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
        """Whether subclasses that override it are probed too."""
        self.inherited = inherited
        """Whether the class merely inherits it; other heirs of the function are not touched."""
        self.part_of = part_of
        """An attribute of its first argument that is true while an enclosing probed call runs."""

    def __repr__(self) -> str:
        return f"{self.owner}.{self.name}"

    def owners(self) -> Iterator[type]:
        """Yield the classes to patch: the named one and its subclasses if they define the function."""
        owner = getattr(sys.modules.get(self.module), self.owner, None)

        if isinstance(owner, type):
            found = [owner]

            for cls in found:
                is_heir = self.inherited and cls is owner and hasattr(cls, self.name)

                if self.name in vars(cls) or is_heir:
                    yield cls

                if self.subclasses:
                    below: list[type] = type.__subclasses__(cls)
                    found += [sub for sub in below if sub not in found]


class Patch:
    """One installed wrapper."""

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
        """Restore the original; return False if other code has patched the function since.

        The wrapper then stays below the other patch, and does nothing.
        """
        if vars(self.owner).get(self.name) is not self.ours:
            return False

        if self._inherited:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)

        return True

    def step_aside(self) -> None:
        """Restore the original from within a call of the job."""
        with contextlib.suppress(Exception):
            self.take_out()


def put_in(target: Target, wrap: Callable[[Any, Patch], Any]) -> tuple[list[Patch], list[str]]:
    """Install the wrappers of a target; return the patches, and why any are missing."""
    patches, missing = [], []

    for owner in target.owners():
        original = next(vars(cls)[target.name] for cls in owner.__mro__ if target.name in vars(cls))
        patch = Patch(owner, target.name, original)

        if not isinstance(patch.original, FunctionType):
            missing.append(f"{owner.__name__}.{target.name} is not a plain function")
            continue

        try:
            patch.put_in(wrap(patch.original, patch))
        except Exception as error:
            missing.append(f"{owner.__name__}.{target.name}: {type(error).__name__}: {error}"[:200])
        else:
            patches.append(patch)

    if not patches and not missing:
        missing.append(f"{target!r} does not exist in this process")

    return patches, missing
