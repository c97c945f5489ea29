"""Settings of the property tests, a check of what detectors say they find, and an incident file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings

from dsray_inspect.agent import verdict
from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.detectors.detection import Detection
from dsray_inspect.agent.detectors.registry import Registration
from tests.unit import incidents, reports

# How long one example takes says more about the machine's load than about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def checked(registration: Registration) -> Registration:
    """Return the detector so that it fails if it finds a cause that it was not registered for."""

    def detect(sample: AnalysisInput) -> list[Detection]:
        found = registration.detect(sample)
        assert {detection.cause for detection in found} <= set(registration.causes), (
            registration.name
        )
        return found

    detect.__name__ = registration.name
    return msgspec.structs.replace(registration, detect=detect)


@pytest.fixture(autouse=True)
def _detectors_find_what_they_are_registered_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict, "DETECTORS", tuple(map(checked, verdict.DETECTORS)))


@pytest.fixture
def incident(tmp_path: Path) -> Path:
    """The incident file of a run that rank 1 holds up."""
    path = tmp_path / "hang.dsray"
    incidents.write(path, incidents.two_samples())
    return path


@pytest.fixture
def folder(incident: Path) -> Path:
    """The folder with that file."""
    return incident.parent


@pytest.fixture
def changing_file(tmp_path: Path) -> Path:
    """A file of a run that hangs at its last samples."""
    return reports.write_file(tmp_path / "hang.dsray", reports.changing())
