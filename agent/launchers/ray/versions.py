"""Ray's and Python's versions, the cluster's and ours: Ray lets only equal ones join.

The cluster's are read from the GCS beforehand, so that a mismatch is reported as such and is
not an error in the middle of `ray.init`.
"""

from __future__ import annotations

import json
import os
import platform

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.compat.supported import OLDEST_RAY, is_supported
from dsray_inspect.agent.errors import VersionUnsupported
from dsray_inspect.agent.handles import Row


class Versions(Row, frozen=True, kw_only=True):
    ray: str
    python: str


def check_versions(address: str) -> None:
    """Return when the cluster's versions are ours, or where it does not say.

    Raises:
        VersionUnsupported: it has other ones, or a Ray that is too old for us.
    """
    theirs, ours = cluster_versions(address), our_versions()
    version = theirs.ray if theirs else ours.ray

    if not is_supported(version):
        raise VersionUnsupported(
            f"The cluster has Ray {version}; dsray-inspect needs Ray {OLDEST_RAY} or newer.",
            help_text="Move the job to a newer Ray, or read its stacks with py-spy.",
        )

    why = _mismatch(theirs, ours) if theirs else ""

    if why:
        raise VersionUnsupported(
            f"This environment cannot join the cluster: {why}.",
            help_text="Run dsray-inspect from the cluster's own image or environment.",
        )


def our_versions() -> Versions:
    import ray

    return Versions(ray=ray.__version__, python=platform.python_version())


def cluster_versions(address: str) -> Versions | None:
    """Return what the cluster was started with, None where this Ray does not keep it.

    `launchers.ray.connect` must have succeeded before.
    """
    from ray._raylet import GcsClient

    raw = GcsClient(address=address).internal_kv_get(
        shelf.CLUSTER_METADATA.encode(), namespace=b"cluster"
    )

    try:
        metadata = json.loads(raw or b"{}")
        ray_version, python_version = (metadata[key] for key in shelf.CLUSTER_VERSIONS)
        return Versions(ray=ray_version, python=python_version)
    except (ValueError, KeyError):
        return None


def _mismatch(cluster: Versions, ours: Versions) -> str:
    """Return what keeps us from joining the cluster, "" for nothing; Ray's own rule."""
    if cluster.ray != ours.ray:
        return f"the cluster has Ray {cluster.ray}, this environment Ray {ours.ray}"

    digits = 2 if os.environ.get(shelf.PYTHON_MATCH_VARIABLE) == "minor" else 3

    if cluster.python.split(".")[:digits] != ours.python.split(".")[:digits]:
        return f"the cluster has Python {cluster.python}, this environment Python {ours.python}"

    return ""
