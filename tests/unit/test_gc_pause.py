"""The collector is off while records are made, and afterwards as it was."""

from __future__ import annotations

import gc

import pytest

from dsray_inspect.agent.gc_pause import without_collector


@without_collector
def is_on(*, fails: bool = False) -> bool:
    if fails:
        raise ValueError("it failed")

    return gc.isenabled()


@without_collector
def nested() -> tuple[bool, bool]:
    return is_on(), gc.isenabled()


def test_it_is_off_meanwhile_and_on_afterwards() -> None:
    assert gc.isenabled()
    assert nested() == (False, False)
    assert gc.isenabled()

    with pytest.raises(ValueError, match="it failed"):
        is_on(fails=True)

    assert gc.isenabled()


def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()

    try:
        assert not is_on()
        assert not gc.isenabled()
    finally:
        gc.enable()
