"""The JSON Schemas of `attach --json` and `diff --json`.

`python -m dsray_inspect.agent.schema` prints the first, with the argument `diff` the other.

Required is what every version has written, so that an older snapshot stays valid; a newer one
may hold more keys than the schema knows.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from dsray_inspect.agent import differences
from dsray_inspect.agent.differences import DiffDocument
from dsray_inspect.agent.model import SCHEMA_VERSION, Snapshot

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# They have defaults for who reads older snapshots, but are always written.
_ALWAYS_WRITTEN = {"Snapshot": ("groups", "schema_version"), "DeepSpeed": ("init",)}


def schema() -> dict[str, Any]:
    """Return the schema, generated from `model.Snapshot`."""
    generated = msgspec.json.schema(Snapshot)
    records = generated["$defs"]

    for name, keys in _ALWAYS_WRITTEN.items():
        records[name]["required"] = [*records[name]["required"], *keys]

    return {
        "$schema": _DIALECT,
        "title": f"dsray-inspect snapshot, schema_version {SCHEMA_VERSION}",
        "$ref": generated["$ref"],
        "$defs": {name: records[name] for name in sorted(records)},
    }


def diff_schema() -> dict[str, Any]:
    """Return the schema, generated from `differences.DiffDocument`."""
    generated = msgspec.json.schema(DiffDocument)
    records = generated["$defs"]
    version = "schema_version"
    records["DiffDocument"]["required"] = [*records["DiffDocument"]["required"], version]
    return {
        "$schema": _DIALECT,
        "title": f"dsray-inspect diff, schema_version {differences.SCHEMA_VERSION}",
        "$ref": generated["$ref"],
        "$defs": {name: records[name] for name in sorted(records)},
    }


def text(of: str = "snapshot") -> str:
    """Return a schema as the bytes of `docs/snapshot.schema.json`, or of `docs/diff.schema.json`."""
    found = diff_schema() if of == "diff" else schema()
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text(*sys.argv[1:]))
