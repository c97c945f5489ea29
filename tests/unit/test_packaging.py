from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
import tomli

import dsray_inspect.agent

ROOT = Path(__file__).parents[2]
PORTIONS = ("agent", "dashboards", "exporters", "tui")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    loaded: dict[str, Any] = tomli.loads((ROOT / "pyproject.toml").read_text())
    return loaded


def folders_with_code() -> set[str]:
    return {
        path.parent.relative_to(ROOT).as_posix()
        for portion in PORTIONS
        for path in (ROOT / portion).rglob("*.py")
    }


def test_every_folder_with_code_is_a_listed_package(project: dict[str, Any]) -> None:
    listed = project["tool"]["setuptools"]["packages"]
    assert listed == sorted(f"dsray_inspect.{f.replace('/', '.')}" for f in folders_with_code())


def test_every_folder_with_code_has_an_init() -> None:
    assert [f for f in folders_with_code() if not (ROOT / f / "__init__.py").is_file()] == []


def test_every_portion_is_mapped_and_typed(project: dict[str, Any]) -> None:
    setuptools = project["tool"]["setuptools"]
    assert setuptools["package-dir"] == {
        f"dsray_inspect.{portion}": portion for portion in PORTIONS
    }
    for portion in PORTIONS:
        assert (ROOT / portion / "py.typed").is_file()
        assert "py.typed" in setuptools["package-data"][f"dsray_inspect.{portion}"]


def test_tools_look_at_every_portion(project: dict[str, Any]) -> None:
    packages = {f"dsray_inspect.{portion}" for portion in PORTIONS}
    assert packages <= set(project["tool"]["mypy"]["packages"])
    assert packages == set(project["tool"]["importlinter"]["root_packages"])
    assert set(PORTIONS) == set(project["tool"]["coverage"]["run"]["source"])


def test_no_folder_shadows_the_installed_package() -> None:
    assert not (ROOT / "dsray_inspect").exists()


def test_the_version_is_the_installed_one(project: dict[str, Any]) -> None:
    assert dsray_inspect.agent.__version__ == version("dsray-inspect")
    assert dsray_inspect.agent.__version__ == project["project"]["version"]


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="dsray-inspect")
    assert command.value == "dsray_inspect.agent.cli:main"


def test_the_constraints_hold_the_named_packages(project: dict[str, Any]) -> None:
    constrained = {
        line.partition("==")[0]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    extras = project["project"]["optional-dependencies"]
    named = [
        *project["project"]["dependencies"],
        *(name for extra, names in extras.items() if extra != "all" for name in names),
        *(name for group in project["dependency-groups"].values() for name in group),
    ]
    assert constrained == {bare_name(name) for name in named if isinstance(name, str)}


def bare_name(requirement: str) -> str:
    return re.split(r"[>=[;]", requirement, maxsplit=1)[0]


def test_what_is_installed_is_what_is_here() -> None:
    installed = {
        f"{portion}/{path.relative_to(folder).as_posix()}"
        for portion in PORTIONS
        for folder in import_module(f"dsray_inspect.{portion}").__path__
        for path in Path(folder).rglob("*.py")
    }
    here = {
        path.relative_to(ROOT).as_posix()
        for portion in PORTIONS
        for path in (ROOT / portion).rglob("*.py")
    }
    assert installed == here, "run `make setup`: it installs again when a file comes or goes"
