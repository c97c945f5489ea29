"""The probe of one process: its ring, its patches and its leases (stdlib only).

All sessions share one probe. Each holds a lease in the ring's header, renewed from outside
(`leases`); with the last lease the probe is removed. It is registered as `HOME` in `sys.modules`,
because every session brings its own copy of this code.
"""

from __future__ import annotations

import sys
import threading
import time
from types import ModuleType
from typing import Any

from dsray_inspect.agent.probes import deepspeed, ray_train
from dsray_inspect.agent.probes.device import Device, device_of_process
from dsray_inspect.agent.probes.leases import clear, hold, is_held
from dsray_inspect.agent.probes.ring import Ring
from dsray_inspect.agent.probes.targets import Patch, Target, put_in
from dsray_inspect.agent.probes.wire import CLOSED, VERSION, W_STATE
from dsray_inspect.agent.probes.wrapper import Switch, recorder

HOME = "_dsray_probe"


class Probe:
    """Everything installed in this process, from `put_in` to `take_out`."""

    version = VERSION

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.switch = Switch(self.take_out_expired)
        self._around = recorder(ring, self.switch)
        self.patches: list[Patch] = []
        self.missing: list[str] = []
        self._removing = threading.Lock()

    def put_in(self, targets: tuple[Target, ...] = deepspeed.TARGETS + ray_train.TARGETS) -> None:
        """Wrap the targets that exist, and note the missing ones."""
        device = device_of_process(self.ring)

        for target in targets:
            patches, missing = put_in(target, self._wrapper(target, device))
            self.patches += patches
            self.missing += missing

        home = ModuleType(HOME)
        home.probe = self  # type: ignore[attr-defined]
        sys.modules[HOME] = home

    def _wrapper(self, target: Target, device: Device | None) -> Any:
        def wrap(original: Any, patch: Patch) -> Any:
            return self._around(
                original,
                target.code,
                of_engine=target.of_engine,
                advances=target.advances,
                part_of=target.part_of,
                measure=target.measure,
                device=device if target.on_device else None,
                step_aside=patch.step_aside,
            )

        return wrap

    def take_out_expired(self) -> None:
        """Remove the probe if all leases have expired."""
        if not is_held(self.ring.header, time.monotonic_ns()):
            self.take_out()

    def take_out(self) -> list[str]:
        """Restore everything; return the functions that other code patched in the meantime."""
        if not self._removing.acquire(blocking=False) or self.switch.off:
            return []

        self.switch.turn_off()
        covered = []

        for patch in reversed(self.patches):
            try:
                if not patch.take_out():
                    covered.append(f"{patch.owner.__name__}.{patch.name}")
            except Exception as error:
                covered.append(f"{patch.owner.__name__}.{patch.name}: {error}"[:200])

        if sys.modules.get(HOME) is not None and sys.modules[HOME].probe is self:
            del sys.modules[HOME]

        self.ring.header[W_STATE] = CLOSED
        self.ring.close()
        return covered

    def hold(self, token: int, lease_s: float) -> bool:
        """Take or renew a lease; return False if there are too many."""
        now_ns = time.monotonic_ns()
        return hold(self.ring.header, token, now_ns + int(lease_s * 1e9), now_ns)

    def let_go(self, token: int) -> list[str] | None:
        """Release a lease; return the result of `take_out` if it was the last, else None."""
        clear(self.ring.header, token)
        return None if is_held(self.ring.header, time.monotonic_ns()) else self.take_out()


def installed() -> Any:
    """Return this process's probe, None without one; another version may have installed it."""
    return getattr(sys.modules.get(HOME), "probe", None)
