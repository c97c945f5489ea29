"""Look inside a running Ray Train and DeepSpeed job without changing it."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    # Reading the version takes longer than all of our own imports, so only who asks pays.
    if name == "__version__":
        from importlib.metadata import version

        return version("dsray-inspect")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
