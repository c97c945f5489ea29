"""Find the cluster, and be sure it will talk to us before Ray's C++ side is asked to.

Ray's GCS client waits 40 s at a dead port and aborts the process without a token it thinks
it needs; both are checked here first, in order: address, port, token, version.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dsray_inspect.agent.cluster.local import LocalCluster, find_clusters
from dsray_inspect.agent.errors import (
    AmbiguousTarget,
    ClusterUnreachable,
    PermissionMissing,
    UsageError,
    VersionUnsupported,
)

CONNECT_S = 3.0
GCS_S = 8.0
DEFAULT_PORT = 6379


def choose_address(flag: str | None) -> str:
    """Return the GCS address: `--address`, else RAY_ADDRESS, else the cluster on this machine."""
    given = flag or os.environ.get("RAY_ADDRESS")

    if given and given not in ("auto", "local"):
        return normalize(given)

    clusters = find_clusters()

    if not clusters:
        raise ClusterUnreachable(
            "No Ray cluster runs on this machine.",
            help_text="Name one: dsray-inspect --address HOST:6379 …, or set RAY_ADDRESS.",
        )

    if len(clusters) > 1:
        raise AmbiguousTarget(
            f"{len(clusters)} Ray clusters run on this machine: "
            + ", ".join(cluster.address for cluster in clusters)
            + ".",
            help_text=f"Choose one: dsray-inspect --address {clusters[0].address} …",
        )

    return clusters[0].address


def normalize(address: str) -> str:
    """Return HOST:PORT of a GCS address as users write them."""
    if address.startswith(("http://", "https://")):
        raise UsageError(
            f"{address} is a dashboard address; dsray-inspect reads the GCS.",
            help_text="Give the GCS instead, usually HOST:6379: the address in `ray status` or RAY_ADDRESS.",
        )

    if address.startswith("ray://"):
        raise UsageError(
            f"{address} is a Ray Client address; dsray-inspect reads the GCS.",
            help_text="Run it on a node of the cluster with --address HOST:6379.",
        )

    host, separator, port = address.rpartition(":")

    if not separator:
        return f"{address}:{DEFAULT_PORT}"

    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{address} is not an address.", help_text="Write HOST:PORT.")

    return address


def connect(address: str) -> None:
    """Return once the GCS at `address` answers us, with or without a token.

    Raises:
        ClusterUnreachable: nothing listens, or it is no GCS.
        PermissionMissing: it wants a token that we do not have.
    """
    check_port(address)
    local = next((c for c in find_clusters() if same_endpoint(c.address, address)), None)
    check_token_present(address)

    try:
        ask_gcs(address)
    except PermissionMissing as refusal:
        if os.environ.get("RAY_AUTH_MODE"):
            raise

        ask_with_token(address, local, refusal)


def ask_with_token(address: str, local: LocalCluster | None, refusal: PermissionMissing) -> None:
    """Ask again with Ray's own token, then with that of the user who started a local cluster.

    Raises:
        PermissionMissing: there is no token, or none that the cluster takes.
    """
    for path in token_places(local):
        use_token(path)

        try:
            ask_gcs(address)
            return
        except PermissionMissing as error:
            refusal = error

    raise refusal


def check_port(address: str) -> None:
    host, _, port = address.rpartition(":")

    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise ClusterUnreachable(
            f"No Ray cluster answers at {address}: {error.strerror or error}.",
            help_text="Check the address with `ray status`, or leave --address out for the local one.",
        ) from error


def same_endpoint(one: str, other: str) -> bool:
    """Return whether two addresses have the same port and one machine's host."""
    host, _, port = one.rpartition(":")
    other_host, _, other_port = other.rpartition(":")
    return port == other_port and (host == other_host or other_host in ("127.0.0.1", "localhost"))


def check_token_present(address: str) -> None:
    """Refuse what Ray's C++ side would abort on: token mode without any token."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token" and not has_token():
        raise PermissionMissing(
            f"RAY_AUTH_MODE=token is set here, but no token for {address} is.",
            help_text="Set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, or put it into ~/.ray/auth_token.",
        )


def has_token() -> bool:
    """Return whether Ray finds a token where it looks: variable, path, home."""
    try:
        from ray._raylet import AuthenticationTokenLoader
    except ImportError:
        return False

    return bool(AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))


def token_places(local: LocalCluster | None) -> list[str | None]:
    """Return where a token may lie: None is wherever Ray itself looks."""
    places: list[str | None] = [None] if has_token() else []

    if local is not None and local.home and "RAY_AUTH_TOKEN" not in os.environ:
        path = os.path.join(local.home, ".ray", "auth_token")
        places += [path] if os.access(path, os.R_OK) else []

    return places


def use_token(path: str | None) -> None:
    """Switch this process to token mode, with the token in `path` or Ray's own."""
    from ray._raylet import AuthenticationTokenLoader, Config

    if path is not None:
        os.environ["RAY_AUTH_TOKEN_PATH"] = path

    os.environ["RAY_AUTH_MODE"] = "token"
    AuthenticationTokenLoader.instance().reset_cache()
    Config.initialize("")


def ask_gcs(address: str) -> None:
    """Ask the GCS for its cluster id."""
    from ray import exceptions

    try:
        with ray_kept_quiet():
            within(GCS_S, lambda: gcs_client(address), address)
    except ClusterUnreachable:
        raise
    except Exception as error:
        refused = isinstance(error, getattr(exceptions, "AuthenticationError", ()))

        if refused or "InvalidAuthToken" in str(error):
            raise token_refused(address) from error

        raise ClusterUnreachable(
            f"{address} listens, but does not answer as a Ray GCS: {str(error)[:120]}.",
            help_text="Check the port: the GCS's is usually 6379, not the dashboard's or the client's.",
        ) from error


@contextmanager
def ray_kept_quiet() -> Iterator[None]:
    """Send file descriptor 2 nowhere: what Ray's C++ side logs there is raised as well."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)

    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def gcs_client(address: str) -> Any:
    from ray._raylet import GcsClient

    return GcsClient(address=address)


def within(limit_s: float, call: Callable[[], Any], address: str) -> Any:
    """Return what `call` gives, or say after `limit_s` that nothing came."""
    answer: list[Any] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(call())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True, name="gcs-connect")
    thread.start()
    thread.join(limit_s)

    if failure:
        raise failure[0]

    if not answer:
        raise ClusterUnreachable(
            f"{address} listens, but gave no answer as a Ray GCS in {limit_s:.0f} s.",
            help_text="Check the port: the GCS's is usually 6379, not the dashboard's or the client's.",
        )

    return answer[0]


def token_refused(address: str) -> PermissionMissing:
    """Say which side of a token mismatch is wrong."""
    mode = os.environ.get("RAY_AUTH_MODE", "")

    if mode.lower() == "disabled":
        return PermissionMissing(
            f"The cluster at {address} wants a token, and RAY_AUTH_MODE=disabled is set here.",
            help_text="Unset RAY_AUTH_MODE; the token is looked up in RAY_AUTH_TOKEN and ~/.ray/auth_token.",
        )

    if has_token():
        return PermissionMissing(
            f"The cluster at {address} refused the token that is set here: it is another cluster's.",
            help_text="Set RAY_AUTH_TOKEN to this cluster's token (`ray get-auth-token` on its head).",
        )

    return PermissionMissing(
        f"The cluster at {address} wants a token, and none is set here.",
        help_text="Set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, or put it into ~/.ray/auth_token.",
    )


def version_error(error: Exception) -> VersionUnsupported | None:
    """Return Ray's refusal of another version as one sentence, None for any other error."""
    text = str(error)

    if "ersion mismatch" not in text:
        return None

    facts = " ".join(text.split())[:300]
    return VersionUnsupported(
        f"This environment's Ray or Python is not the cluster's: {facts}",
        help_text="Run dsray-inspect from the cluster's own image or environment.",
    )
