"""The test to run first with a new version of Ray, DeepSpeed or torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from dsray_inspect.agent.compat import deepspeed, ray, torch
from tests.compat.missing import missing, shelf_rows
from tests.compat.package import Package

SHELVES = {"ray": ray, "deepspeed": deepspeed, "torch": torch}


def installed(name: str) -> Package:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} is not installed"
    assert spec.origin is not None
    return Package(name, Path(spec.origin).parents[1])


@pytest.mark.parametrize("name", SHELVES)
def test_the_installed_package_has_every_name_on_its_shelf(name: str) -> None:
    package = installed(name)
    gone = missing(SHELVES[name], package)
    assert not gone, f"{name} {package.version_text} has no longer:\n" + "\n".join(gone)


@pytest.mark.parametrize("shelf", SHELVES.values())
def test_every_constant_of_a_shelf_is_a_row_that_says_what_it_is_for(shelf: ModuleType) -> None:
    rows = {name: row for name, _, row in shelf_rows(shelf)}
    public = {name for name in vars(shelf) if name.isupper() and not name.startswith("_")}
    assert public - set(rows) == {"VERIFIED"}
    assert not [name for name, row in rows.items() if len(row.use) < 10]


@pytest.mark.parametrize("shelf", SHELVES.values())
def test_a_shelf_gives_each_name_one_row(shelf: ModuleType) -> None:
    names = [name for name, _, _ in shelf_rows(shelf)]
    assert len(names) == len(set(names))
    assert not [name for name in names if not hasattr(shelf, name)]


def test_a_name_that_is_gone_is_named_with_its_use(tmp_path: Path) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/_version.py").write_text('version = "2.99.0"\n')
    gone = missing(ray, Package("ray", tmp_path))
    assert (
        "ray.WORKER_FILE: no ray/_private/worker.py. Used for: Ray's task loop, `ray.get`." in gone
    )
