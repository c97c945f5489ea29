"""What runs on a node or in a rank is sent by value: nothing of it may need this package there."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from types import ModuleType

from ray import cloudpickle

from dsray_inspect.agent import compat, remote

ARRIVE = """
import pickle, sys
for sent in pickle.load(sys.stdin.buffer).values():
    pickle.loads(sent)
sys.exit(any(name.startswith("dsray_inspect") for name in sys.modules))
"""


def test_every_function_arrives_where_this_package_is_not() -> None:
    cloudpickle.register_pickle_by_value(compat)
    cloudpickle.register_pickle_by_value(remote)

    try:
        sent = {info.name: packed(info.name) for info in pkgutil.iter_modules(remote.__path__)}
    finally:
        cloudpickle.unregister_pickle_by_value(compat)
        cloudpickle.unregister_pickle_by_value(remote)

    subprocess.run([sys.executable, "-c", ARRIVE], input=cloudpickle.dumps(sent), check=True)


def packed(name: str) -> bytes:
    module = importlib.import_module(f"{remote.__name__}.{name}")
    return bytes(cloudpickle.dumps(functions_of(module)))


def functions_of(module: ModuleType) -> list[object]:
    return [
        value
        for value in vars(module).values()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
