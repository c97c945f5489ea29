"""What the code reads of foreign objects is on the shelves, so that `test_shelves` looks for it."""

from __future__ import annotations

import ast
from pathlib import Path

from dsray_inspect.agent.compat import deepspeed, ray

AGENT = Path(__file__).parents[2] / "agent"
# Methods and enums of messages, and of a text that has the same name.
NO_FIELDS = {"strip", "WhichOneof", "DESCRIPTOR", "ActorState", "PlacementGroupState"}


def attributes_of(name: str, *paths: str) -> set[str]:
    """Return the attributes that modules read of a variable, also by `getattr`."""
    found: set[str] = set()

    for path in paths:
        for node in ast.walk(ast.parse((AGENT / path).read_text())):
            if isinstance(node, ast.Attribute) and is_name(node.value, name):
                found.add(node.attr)
            elif isinstance(node, ast.Call) and is_name(node.func, "getattr"):
                target, attribute = node.args[:2]

                if is_name(target, name) and isinstance(attribute, ast.Constant):
                    found.add(str(attribute.value))

    return found


def is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def test_every_field_of_a_table_that_is_read_is_on_the_shelf() -> None:
    read = attributes_of("message", "launchers/ray/gcs.py", "launchers/ray/task_events.py")
    read |= attributes_of("info", "launchers/ray/task_events.py")
    assert len(read) > 20
    known = {field for fields in ray.MESSAGES.values() for field in fields}
    assert read - NO_FIELDS - known == set()


def test_every_attribute_of_an_engine_that_is_read_is_on_the_shelf() -> None:
    read = attributes_of(
        "engine", "remote/engine.py", "remote/training_health.py", "remote/worker.py"
    )
    assert len(read) > 8
    # DeepSpeed's own property of older engines; where it is missing the config is read instead.
    assert read - set(deepspeed.ENGINE_READS) - {"config"} == set()
