"""Marks of the cases that run in CI."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    for item in items:
        if here in item.path.parents:
            item.add_marker("ray")
            item.add_marker(pytest.mark.timeout(1800))
