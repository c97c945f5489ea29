"""While a screen is shown, garbage is collected when no keys are pressed, and at the latest after a while."""

from __future__ import annotations

import gc
import sys

import pytest

from dsray_inspect.tui.gc_tuning import (
    COLLECT_AT_LATEST_S,
    COLLECT_EVERY_S,
    QUIET_S,
    SWITCH_INTERVAL_S,
    GcTuning,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_settings_are_restored(clock: Clock) -> None:
    was_on, interval_s = gc.isenabled(), sys.getswitchinterval()
    tuning = GcTuning(clock)
    tuning.install()

    try:
        assert not gc.isenabled()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
        assert gc.get_freeze_count() > 0
    finally:
        tuning.uninstall()

    assert (gc.isenabled(), sys.getswitchinterval()) == (was_on, interval_s)
    assert gc.get_freeze_count() == 0


def test_uninstall_without_install_changes_nothing(clock: Clock) -> None:
    was_on, interval_s = gc.isenabled(), sys.getswitchinterval()
    GcTuning(clock).uninstall()
    assert (gc.isenabled(), sys.getswitchinterval()) == (was_on, interval_s)


def test_collection_waits_until_no_keys_are_pressed(clock: Clock) -> None:
    tuning = GcTuning(clock)
    clock.now += COLLECT_EVERY_S
    tuning.note_key()
    clock.now += QUIET_S / 2
    assert not tuning.tick()
    clock.now += QUIET_S
    assert tuning.tick()
    assert not tuning.tick(), "it was collected just now"


def test_keys_do_not_postpone_collection_forever(clock: Clock) -> None:
    tuning = GcTuning(clock)

    for _ in range(round(COLLECT_AT_LATEST_S) - 1):
        clock.now += 1.0
        tuning.note_key()
        assert not tuning.tick()

    clock.now += 1.0
    tuning.note_key()
    assert tuning.tick()
