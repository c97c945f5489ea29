"""The collector runs by hand while a screen is shown: when no key waits, or at last in any case."""

from __future__ import annotations

import gc
import sys

import pytest

from dsray_inspect.tui.gc_tuning import EVERY_S, MOST_S, QUIET_S, TURN_S, GcTuning


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_is_as_it_was_afterwards(clock: Clock) -> None:
    was_on, turn_s = gc.isenabled(), sys.getswitchinterval()
    held = GcTuning(clock)
    held.hold()

    try:
        assert not gc.isenabled()
        assert sys.getswitchinterval() == pytest.approx(TURN_S)
        assert gc.get_freeze_count() > 0
    finally:
        held.let_go()

    assert (gc.isenabled(), sys.getswitchinterval()) == (was_on, turn_s)
    assert gc.get_freeze_count() == 0


def test_one_that_was_never_held_lets_nothing_go(clock: Clock) -> None:
    was_on, turn_s = gc.isenabled(), sys.getswitchinterval()
    GcTuning(clock).let_go()
    assert (gc.isenabled(), sys.getswitchinterval()) == (was_on, turn_s)


def test_it_waits_for_a_moment_without_keys(clock: Clock) -> None:
    own = GcTuning(clock)
    clock.now += EVERY_S
    own.key()
    clock.now += QUIET_S / 2
    assert not own.tick()
    clock.now += QUIET_S
    assert own.tick()
    assert not own.tick(), "it has just been"


def test_keys_do_not_put_it_off_for_ever(clock: Clock) -> None:
    own = GcTuning(clock)

    for _ in range(round(MOST_S) - 1):
        clock.now += 1.0
        own.key()
        assert not own.tick()

    clock.now += 1.0
    own.key()
    assert own.tick()
