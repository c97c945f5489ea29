"""One package as files on disk: nothing of it is imported, so that any release can be read."""

from __future__ import annotations

import ast
import mmap
import re
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from dsray_inspect.agent.compat.supported import version_tuple

VERSION_FILES = {
    "ray": ("ray/_version.py", r'version = "([\d.]+)'),
    "deepspeed": ("deepspeed/git_version_info_installed.py", r"version='([\d.]+)"),
    "torch": ("torch/version.py", r"__version__ = '([\d.]+)"),
}
SOURCE_VERSION = "version.txt"
_DESCRIPTOR = re.compile(r"AddSerializedFile\((b'.*')\)")


class Package:
    """The files of one package below the folder that Python would import it from."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root

    @cached_property
    def version(self) -> tuple[int, ...]:
        return version_tuple(self.version_text)

    @cached_property
    def version_text(self) -> str:
        file, pattern = VERSION_FILES[self.name]
        found = re.search(pattern, self.text(file))
        source = self.root / SOURCE_VERSION
        return found[1] if found else source.read_text().strip()

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The paths of all source files and stubs, beginning with the package."""
        folder = self.root / self.name
        found = (path for path in folder.rglob("*.py*") if path.suffix in (".py", ".pyi"))
        return tuple(sorted(str(path.relative_to(self.root)) for path in found))

    def has(self, path: str) -> bool:
        return (self.root / path).exists()

    def matching(self, pattern: str) -> list[str]:
        compiled = re.compile(pattern)
        return [file for file in self.files if compiled.fullmatch(file)]

    def module_file(self, module: str) -> str | None:
        """Return the file of a module by its dotted name, None where there is none."""
        path = module.replace(".", "/")
        candidates = (f"{path}.py", f"{path}/__init__.py", path)
        return next((file for file in candidates if self.has(file)), None)

    def text(self, path: str) -> str:
        file = self.root / path
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    def contains(self, path: str, text: str) -> bool:
        """Return whether a file, or any source file of a folder, contains a text."""
        if path.endswith("/"):
            return any(text in self.text(file) for file in self.files if file.startswith(path))

        file = self.root / path

        if not file.is_file() or not file.stat().st_size:
            return False

        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as data:
            return data.find(text.encode()) >= 0

    @cache  # noqa: B019  (one object for each package, as long as the run)
    def tree(self, path: str) -> ast.Module:
        return ast.parse(self.text(path))

    @cache  # noqa: B019
    def functions(self, path: str) -> frozenset[str]:
        """Return the names of all functions that a file defines, nested ones too."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        found = {node.name for node in ast.walk(self.tree(path)) if isinstance(node, kinds)}
        return frozenset(found | {"<module>"})

    @cache  # noqa: B019
    def identifiers(self, path: str) -> frozenset[str]:
        """Return every name that a file defines, assigns or reads."""
        found: set[str] = set()

        for node in ast.walk(self.tree(path)):
            for field in ("name", "id", "attr", "arg"):
                value = getattr(node, field, None)
                found |= {value} if isinstance(value, str) else set()

            # `getattr(x, "name")`, and the fields of configs that are read by name.
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value} if node.value.isidentifier() else set()

        return frozenset(found)

    def has_method(self, module: str, owner: str, name: str) -> bool:
        """Return whether a class of a module defines a method; a mangled name is unmangled."""
        file = self.module_file(module)
        plain = name.removeprefix(f"_{owner}") if name.startswith(f"_{owner}__") else name

        if file is None:
            return False

        return any(
            isinstance(node, ast.ClassDef)
            and node.name == owner
            and any(getattr(part, "name", None) == plain for part in node.body)
            for node in ast.walk(self.tree(file))
        )

    @cached_property
    def protobufs(self) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        """Return the fields of all messages and the values of all enums, by full name."""
        from google.protobuf import descriptor_pb2  # type: ignore[import-untyped]

        fields: dict[str, set[str]] = {}
        values: dict[str, set[str]] = {}

        def add_enums(prefix: str, scope: Any) -> None:
            for enum in scope.enum_type:
                values[f"{prefix}.{enum.name}"] = {value.name for value in enum.value}

        def add(prefix: str, message: Any) -> None:
            name = f"{prefix}.{message.name}"
            fields[name] = {field.name for field in message.field}
            add_enums(name, message)

            for nested in message.nested_type:
                add(name, nested)

        for path in self.files:
            serialized = _DESCRIPTOR.search(self.text(path)) if path.endswith("_pb2.py") else None

            if serialized:
                file = descriptor_pb2.FileDescriptorProto.FromString(
                    ast.literal_eval(serialized[1])
                )
                add_enums(file.package, file)

                for message in file.message_type:
                    add(file.package, message)

        return fields, values
