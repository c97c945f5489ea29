"""How Prometheus finds `serve`: the HTTP service discovery document, also written to a file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dsray_inspect.agent.errors import UsageError

_CLUSTER_VARIABLE = "RAY_CLUSTER_NAME"
"""Set by KubeRay in its pods; its PodMonitor turns it into the label `ray_io_cluster`."""


def document(target: str) -> bytes:
    """Return the targets in the format of `http_sd_configs` and `file_sd_configs`."""
    cluster = os.environ.get(_CLUSTER_VARIABLE)
    labels = {"ray_io_cluster": cluster} if cluster else {}
    return msgspec.json.encode([{"targets": [target], "labels": labels}])


@contextlib.contextmanager
def published_file(path: str | None, target: str) -> Iterator[None]:
    """Keep a discovery file at `path` inside the `with` block; None writes none.

    Raises:
        UsageError: The file cannot be written.
    """
    if path is None:
        yield
        return

    content = document(target) + b"\n"

    try:
        _replace(Path(path), content)
    except OSError as error:
        raise UsageError(f"--sd-file {path} cannot be written: {error.strerror}.") from error

    try:
        yield
    finally:
        # Another `serve` may have replaced it since.
        with contextlib.suppress(OSError):
            if Path(path).read_bytes() == content:
                Path(path).unlink()


def _replace(path: Path, content: bytes) -> None:
    """Replace a file atomically: readers see the old content or the new, never a part."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        try:
            new.write(content)
            new.flush()
            os.fchmod(new.fileno(), 0o644)
            os.replace(new.name, path)
        except BaseException:
            os.unlink(new.name)
            raise
