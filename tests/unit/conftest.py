"""Settings of the property tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long one example takes says more about the machine's load than about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
