"""Look inside a running Ray Train and DeepSpeed job without changing it."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("dsray-inspect")
