"""How Prometheus finds us: the document of HTTP service discovery, also as a file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dsray_inspect.agent.errors import UsageError

CLUSTER_VARIABLE = "RAY_CLUSTER_NAME"
"""KubeRay sets it in its pods; its PodMonitor makes the label of it."""


def document(target: str) -> bytes:
    """Return the targets as `http_sd_configs` and `file_sd_configs` read them."""
    cluster = os.environ.get(CLUSTER_VARIABLE)
    labels = {"ray_io_cluster": cluster} if cluster else {}
    return msgspec.json.encode([{"targets": [target], "labels": labels}])


@contextlib.contextmanager
def written(path: str | None, target: str) -> Iterator[None]:
    """Keep the file at `path` while we serve; readers never see half of it."""
    if path is None:
        yield
        return

    content = document(target) + b"\n"

    try:
        replace(Path(path), content)
    except OSError as error:
        raise UsageError(f"--sd-file {path} cannot be written: {error.strerror}.") from error

    try:
        yield
    finally:
        # Another serve may have written its own since.
        with contextlib.suppress(OSError):
            if Path(path).read_bytes() == content:
                Path(path).unlink()


def replace(path: Path, content: bytes) -> None:
    """Write a file at once: a temporary one beside it takes its place."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        try:
            new.write(content)
            new.flush()
            os.fchmod(new.fileno(), 0o644)
            os.replace(new.name, path)
        except BaseException:
            os.unlink(new.name)
            raise
