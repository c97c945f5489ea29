"""The detectors, in the order in which what one finds explains what the next finds."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import TypeVar

from dsray_inspect.agent import detectors
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.model import Cause, Record

Detector = Callable[[AnalysisInput], list[Detection]]
D = TypeVar("D", bound=Detector)


class Registration(Record, frozen=True, kw_only=True):
    """A detector, the causes it may return, and the detectors whose detections explain them."""

    detect: Detector
    causes: tuple[Cause, ...]
    after: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.detect.__name__


_REGISTERED: dict[str, Registration] = {}


def detector(*, causes: tuple[Cause, ...], after: tuple[str, ...] = ()) -> Callable[[D], D]:
    """Register a function from the analysis input to detections.

    Args:
        causes: All causes that it may return.
        after: Names of the detectors that run before it: the first error is the verdict.
    """

    def register(detect: D) -> D:
        _REGISTERED[detect.__name__] = Registration(detect=detect, causes=causes, after=after)
        return detect

    return register


def registered() -> tuple[Registration, ...]:
    """Return all detectors in their order; every module of this package is imported."""
    for module in pkgutil.iter_modules(detectors.__path__):
        importlib.import_module(f"{detectors.__name__}.{module.name}")

    return ordered(_REGISTERED.values())


def ordered(registrations: Iterable[Registration]) -> tuple[Registration, ...]:
    """Return them so that each comes after those it names, and as given where nothing is named.

    Raises:
        ValueError: a detector names one that does not exist, or two name each other.
    """
    left = sorted(registrations, key=lambda registration: registration.name)
    done: list[Registration] = []

    while left:
        names = {registration.name for registration in done}
        ready = next((found for found in left if names.issuperset(found.after)), None)

        if ready is None:
            raise ValueError(f"no order for {', '.join(blocked.name for blocked in left)}")

        left.remove(ready)
        done.append(ready)

    return tuple(done)
