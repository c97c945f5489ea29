"""Which names on a shelf a package does not have: one line for each."""

from __future__ import annotations

import importlib
import pkgutil
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from dsray_inspect.agent.compat import rows
from dsray_inspect.agent.compat.supported import version_tuple
from tests.compat.package import Package


def shelf_rows(shelf: ModuleType) -> Iterator[tuple[str, Any, rows.Row]]:
    """Yield name, value and row of each annotated constant of a shelf."""
    for module in modules(shelf):
        for name, hint in typing.get_type_hints(module, include_extras=True).items():
            for row in getattr(hint, "__metadata__", ()):
                if isinstance(row, rows.Row):
                    yield name, getattr(module, name), row


def modules(shelf: ModuleType) -> list[ModuleType]:
    """Return a shelf's modules; a small shelf is one module itself."""
    below = pkgutil.iter_modules(getattr(shelf, "__path__", ()), f"{shelf.__name__}.")
    return [shelf, *(importlib.import_module(module.name) for module in below)]


def missing(shelf: ModuleType, package: Package) -> list[str]:
    """Return what the package lacks of the names that its version should have."""
    label = f"{shelf.__name__.rpartition('.')[2]}"
    return [
        f"{label}.{name}: {what}. Used for: {row.use}"
        for name, value, row in shelf_rows(shelf)
        if applies(row.since, row.until, package)
        for what in lacks(value, row, package)
    ]


def unexpected(shelf: ModuleType, package: Package) -> list[str]:
    """Return the rows that the package has although its version should not: their bounds are off."""
    label = f"{shelf.__name__.rpartition('.')[2]}"
    return [
        f"{label}.{name}: is there, but says since={row.since!r} until={row.until!r}"
        for name, value, row in shelf_rows(shelf)
        if not applies(row.since, row.until, package) and not list(lacks(value, row, package))
    ]


def applies(since: str, until: str, package: Package) -> bool:
    version = package.version
    return not (
        (since and version < version_tuple(since))
        or (until and version[: len(version_tuple(until))] > version_tuple(until))
    )


def lacks(value: Any, row: rows.Row, package: Package) -> Iterable[str]:
    """Yield what of a row's value the package does not have."""
    match row:
        case rows.Files():
            return (f"no {path}" for path in texts(value) if not package.has(path))
        case rows.FilePatterns():
            return (f"no file fits {one}" for one in texts(value) if not package.matching(one))
        case rows.FrameRules():
            return frame_rules_without_match(value, package)
        case rows.Functions():
            return functions_not_defined(value, package)
        case rows.Methods():
            return (
                f"no {module}.{owner}.{name}"
                for module, owner, name in methods(value)
                if not package.has_method(module, owner, name)
            )
        case rows.Modules():
            return (f"no module {name}" for name in texts(value) if not is_module(name, package))
        case rows.Names():
            return names_not_found(texts(value), row, package)
        case rows.AttributePaths():
            paths = value.values() if isinstance(value, Mapping) else [value]
            names = dict.fromkeys(name for path in paths for name in path.split("."))
            return names_not_found(names, row, package)
        case rows.Texts():
            return (
                f"{text!r} is not in {', '.join(row.files)}"
                for text in texts(value)
                if not any(package.contains(file, text) for file in row.files)
            )
        case rows.Fields():
            return fields_not_found(value, package)
        case rows.EnumValues():
            known = package.protobufs[1].get(row.enum, set())
            return (f"{row.enum} has no {name}" for name in texts(value) if name not in known)

    return ()


def texts(value: Any) -> Iterator[str]:
    yield from [value] if isinstance(value, str) else value


def is_module(name: str, package: Package) -> bool:
    """Return whether a module of the package exists; one of another package is not its business."""
    return name.partition(".")[0] != package.name or package.module_file(name) is not None


def functions_not_defined(value: Any, package: Package) -> Iterator[str]:
    for name, file in functions(value, package):
        if not package.has(file):
            yield f"no {file}"
        elif name and name not in package.functions(file):
            yield f"{file} defines no {name}"


def functions(value: Any, package: Package) -> Iterator[tuple[str, str]]:
    """Yield name and path of each function, of every form in which a shelf writes them."""
    if isinstance(value, Mapping):
        for module, named in value.items():
            file = package.module_file(module) or f"{module.replace('.', '/')}.py"
            yield from ((name, file) for name, _ in named)
    elif isinstance(value[0], rows.FileFunctions):
        for one in value:
            if applies(one.since, one.until, package):
                yield from ((name, one.path) for name in one.names.split() or [""])
    elif isinstance(value[0], str):
        # A function, or a module with one: `("ray.train.torch.config", ("name", "file"))`.
        yield (value[0], value[1]) if isinstance(value[1], str) else value[1]
    else:
        yield from value


def methods(value: Any) -> Iterator[rows.Method]:
    if isinstance(value, Mapping):
        for module, owned in value.items():
            yield from ((module, owner, name) for owner, name, _ in owned)
    elif isinstance(value[0], str):
        yield value
    else:
        yield from value


def names_not_found(
    names: Iterable[str], row: rows.Names | rows.AttributePaths, package: Package
) -> Iterator[str]:
    wanted = list(names)
    files = [file for file in row.files if package.has(file)]
    known = frozenset().union(*(package.identifiers(file) for file in files))
    absent = [name for name in wanted if name not in known]

    if isinstance(row, rows.Names) and row.any_of and len(absent) < len(wanted):
        return

    yield from (f"{name!r} is not in {', '.join(row.files)}" for name in absent)


def fields_not_found(value: Any, package: Package) -> Iterator[str]:
    known = package.protobufs[0]

    for message, fields in value.items():
        if message not in known:
            yield f"no message {message}"
        else:
            yield from (
                f"{message} has no {field}" for field in fields if field not in known[message]
            )


def frame_rules_without_match(value: Iterable[rows.FrameRule], package: Package) -> Iterator[str]:
    for rule in value:
        if not applies(rule.since, rule.until, package):
            continue

        files = {pattern: package.matching(pattern) for pattern in rule.paths.split()}
        yield from (f"no file fits {pattern}" for pattern, found in files.items() if not found)
        every = [file for found in files.values() for file in found]

        for name in rule.names.split():
            pattern = re.compile(name)

            if not any(pattern.fullmatch(one) for file in every for one in package.functions(file)):
                yield f"no function fits {name} in {rule.paths} ({rule.phase})"
