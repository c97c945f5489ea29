"""What all tests share."""

from __future__ import annotations

import pytest

MARKERS = (
    "ray: starts a real Ray cluster (tests/ray)",
    "hosts: needs root, to make two hosts of one machine",
)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
