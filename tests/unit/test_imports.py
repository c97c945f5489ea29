"""What a module may load, seen in fresh interpreters and in the source."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADLESS = ("agent", "dashboards", "exporters")
# Code that runs in processes of other people, where nothing but Python is sure to be there.
SHELVES = "dsray_inspect.agent.compat"
GUESTS = ("agent/compat", "agent/probes", "agent/remote")
HEAVY = frozenset(["deepspeed", "numpy", "pandas", "pyarrow", "ray", "textual", "torch"])
# Code that others import in their own processes, on nodes, or to show a finished session.
WITHOUT_RAY = (
    "agent/compat",
    "agent/detectors",
    "agent/environment",
    "agent/errors",
    "agent/incident",
    "agent/model",
    "agent/stacks",
)


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    return found or [ROOT / f"{folder}.py"]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("dsray_inspect", *(part for part in parts if part != "__init__")))


def modules(*folders: str) -> list[str]:
    """Return the names of all modules under the folders that exist."""
    paths = [path for folder in folders for path in sources(folder) if path.is_file()]
    return [module_name(path) for path in paths if path.stem != "__main__"]


def loaded_by(code: str) -> set[str]:
    """Return the modules that the code loads in a fresh interpreter."""
    script = (
        "import json, sys\n"
        "before = set(sys.modules)\n"
        f"{code}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)), file=sys.__stderr__)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_headless_modules_never_load_the_terminal_face() -> None:
    loaded = loaded_by("\n".join(f"import {name}" for name in modules(*HEADLESS)))
    assert "textual" not in roots(loaded)
    assert "dsray_inspect.tui" not in loaded


def test_what_needs_no_cluster_does_not_load_ray() -> None:
    loaded = loaded_by("\n".join(f"import {name}" for name in modules(*WITHOUT_RAY)))
    assert HEAVY & roots(loaded) == set()


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_by(
        "from dsray_inspect.agent.cli import main\n"
        "sys.argv = ['dsray-inspect', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
    )
    assert HEAVY & roots(loaded) == set()


def test_commands_and_their_usual_formats_load_nothing_heavy() -> None:
    commands = [name for name in modules("agent/commands") if not name.endswith("serving")]
    loaded = loaded_by(
        "\n".join(f"import {name}" for name in commands)
        + "\nimport dsray_inspect.agent.formats.json, dsray_inspect.agent.formats.text"
    )
    assert (HEAVY | {"opentelemetry", "prometheus_client"}) & roots(loaded) == set()


@pytest.mark.parametrize("folder", GUESTS)
def test_guests_load_the_standard_library_only(folder: str) -> None:
    loaded = loaded_by("\n".join(f"import {name}" for name in modules(folder)))
    ours = {name for name in loaded if name.startswith("dsray_inspect.")}
    assert roots(loaded) - sys.stdlib_module_names == {"dsray_inspect"}
    package = module_name(ROOT / folder)
    assert {n for n in ours if not n.startswith((package, SHELVES))} == {"dsray_inspect.agent"}


@pytest.mark.parametrize("folder", GUESTS)
def test_guests_name_the_standard_library_only(folder: str) -> None:
    """Lazy imports too: what the job has loaded is found in `sys.modules`, never imported."""
    package = module_name(ROOT / folder)
    foreign = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(folder)
        for line, name, _ in imports(path)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not name.startswith((package, SHELVES))
    ]
    assert foreign == []


@pytest.mark.parametrize("folder", GUESTS)
def test_guests_import_each_other_at_the_top_only(folder: str) -> None:
    """Inside a function the import would run where dsray_inspect is not installed."""
    late = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(folder)
        for line, name, at_top in imports(path)
        if name.startswith("dsray_inspect.") and not at_top
    ]
    assert late == []


@pytest.mark.parametrize("folder", ["agent/probes", "agent/remote"])
def test_guests_take_names_from_shelves_and_not_whole_shelves(folder: str) -> None:
    """A function that refers to a shelf would be sent with all that is on it."""
    whole = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources(folder)
        for line, name, _ in imports(path)
        if name == SHELVES
    ]
    assert whole == []


def imports(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Yield line, module and whether it stands at the top level, for each import of a file."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ".", id(node) in top
