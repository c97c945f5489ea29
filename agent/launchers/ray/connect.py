"""Find the cluster, and be sure it will talk to us before Ray's C++ side is asked to.

Ray's GCS client waits 40 s at a dead port and aborts the process without a token it thinks
it needs; both are checked here first, in order: address, port, token.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from dsray_inspect.agent.compat import ray as shelf
from dsray_inspect.agent.errors import (
    AmbiguousTarget,
    ClusterUnreachable,
    InspectError,
    PermissionMissing,
    UsageError,
    VersionUnsupported,
)
from dsray_inspect.agent.launchers.ray.local import LocalCluster, find_clusters, tokens_of
from dsray_inspect.agent.launchers.ray.token import token_place

_CONNECT_S = 3.0
_GCS_S = 8.0
_DEFAULT_PORT = 6379
_FRAME_HEADER = 9
_SETTINGS = 4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0))
"""How an HTTP/2 client begins (RFC 9113); a server answers with a SETTINGS frame as well."""
_CHECK_PORT = "Check the port: the GCS's is usually 6379, not the dashboard's or the client's."


def choose_address(flag: str | None) -> str:
    """Return the GCS address: `--address`, else RAY_ADDRESS, else the cluster on this machine."""
    given = flag or os.environ.get(shelf.ADDRESS_VARIABLE)

    if given and given not in ("auto", "local"):
        return _normalize(given)

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
            help_text="Choose one by --address; their logs are in:\n  "
            + "\n  ".join(f"{cluster.address}  {cluster.logs or '?'}" for cluster in clusters),
        )

    return clusters[0].address


def _normalize(address: str) -> str:
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
        return f"{address}:{_DEFAULT_PORT}"

    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{address} is not an address.", help_text="Write HOST:PORT.")

    return address


def connect(address: str) -> None:
    """Return once the GCS at `address` answers us, with or without a token.

    Raises:
        ClusterUnreachable: nothing listens, or it is no GCS.
        PermissionMissing: it wants a token that we do not have.
    """
    local = next((c for c in find_clusters() if _same_endpoint(c.address, address)), None)
    _check_port(address, local)
    mode = os.environ.get(shelf.AUTH_MODE_VARIABLE, "").lower()

    # Ray's C++ side would abort in token mode without a token.
    if mode == "token" and not _has_token():
        _switch_mode("disabled")

    try:
        _ask_gcs(address, local)
    except PermissionMissing as refusal:
        if mode == "disabled" or (mode == "token" and _has_token()):
            raise

        _ask_with_token(address, local, refusal)


def _ask_with_token(address: str, local: LocalCluster | None, refusal: PermissionMissing) -> None:
    """Ask again with Ray's own token, then with that of the user who started a local cluster.

    Raises:
        PermissionMissing: there is no token, or none that the cluster takes.
    """
    for token in _tokens(local):
        os.environ.update(token)
        _switch_mode("token")

        try:
            _ask_gcs(address, local)
            return
        except PermissionMissing as error:
            refusal = error

    raise refusal


def _check_port(address: str, local: LocalCluster | None) -> None:
    """Return when something listens that speaks as gRPC servers do.

    Raises:
        ClusterUnreachable: nothing listens, or something else than a GCS.
    """
    host, _, port = address.rpartition(":")

    try:
        end = socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S)
    except OSError as error:
        raise ClusterUnreachable(
            f"No Ray cluster answers at {address}: {error.strerror or error}.",
            help_text="Check the address with `ray status`, or leave --address out for the local one.",
        ) from error

    with end:
        if os.environ.get(shelf.TLS_VARIABLE, "0").lower() in ("1", "true"):
            return

        end.settimeout(_GCS_S)

        try:
            end.sendall(_PREFACE)
            frame = end.recv(_FRAME_HEADER, socket.MSG_WAITALL)
        except TimeoutError:
            raise _silent(address, local) from None
        except OSError:
            frame = b""

    if len(frame) < _FRAME_HEADER or frame[3] != _SETTINGS:
        raise ClusterUnreachable(
            f"{address} listens, but it is no Ray GCS: it does not speak gRPC.",
            help_text=_CHECK_PORT,
        )


def _silent(address: str, local: LocalCluster | None) -> ClusterUnreachable:
    """Say that something took our connection and then gave no answer."""
    if local is None:
        return ClusterUnreachable(
            f"{address} listens, but gave no answer as a Ray GCS in {_GCS_S:.0f} s.",
            help_text=_CHECK_PORT,
        )

    return ClusterUnreachable(
        f"The GCS at {address} gave no answer in {_GCS_S:.0f} s, though a raylet of its cluster "
        f"runs here (pid {local.raylet_pid}): it is stopped, overloaded or without memory.",
        help_text=f"Look at its process and its log: {local.logs or 'logs'}/gcs_server.out",
    )


def _same_endpoint(one: str, other: str) -> bool:
    """Return whether two addresses have the same port and one machine's host."""
    host, _, port = one.rpartition(":")
    other_host, _, other_port = other.rpartition(":")
    return port == other_port and (host == other_host or other_host in ("127.0.0.1", "localhost"))


def _has_token() -> bool:
    """Return whether Ray finds a token where it looks: variable, path, home.

    Raises:
        PermissionMissing: the path that is set leads to no token.
    """
    try:
        from ray._raylet import AuthenticationTokenLoader
    except ImportError:
        return False

    try:
        return bool(AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))
    except Exception as error:
        raise PermissionMissing(
            f"No token can be read from {token_place()}, which RAY_AUTH_TOKEN_PATH names.",
            help_text="Correct RAY_AUTH_TOKEN_PATH, or unset it.",
        ) from error


def _tokens(local: LocalCluster | None) -> Iterator[dict[str, str]]:
    """Yield the variables by which Ray finds a token: ours first, then the local cluster's."""
    if _has_token():
        yield {}

    if local is not None and shelf.TOKEN_VARIABLE not in os.environ:
        yield from tokens_of(local)


def _switch_mode(mode: str) -> None:
    """Switch this process to `token` or `disabled`; Ray remembers mode and token otherwise."""
    os.environ[shelf.AUTH_MODE_VARIABLE] = mode

    with contextlib.suppress(ImportError):
        from ray._raylet import AuthenticationTokenLoader, Config

        AuthenticationTokenLoader.instance().reset_cache()
        Config.initialize("")


def _ask_gcs(address: str, local: LocalCluster | None) -> None:
    """Ask the GCS for its cluster id.

    Raises:
        ClusterUnreachable: it does not answer, or not as a GCS.
        PermissionMissing: it wants another token, or none was sent.
    """
    from ray import exceptions

    try:
        with ray_kept_quiet():
            answered = within(_GCS_S, lambda: _gcs_client(address))
    except InspectError:
        raise
    except Exception as error:
        refused = isinstance(error, getattr(exceptions, "AuthenticationError", ()))

        if refused or "InvalidAuthToken" in str(error):
            raise _token_refused(address) from error

        raise ClusterUnreachable(
            f"{address} listens, but does not answer as a Ray GCS: {_words(error)}.",
            help_text=_CHECK_PORT,
        ) from error

    if not answered:
        raise _silent(address, local)


def _words(error: Exception) -> str:
    return str(error)[:120].rstrip(" .:") or type(error).__name__


@contextlib.contextmanager
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


def _gcs_client(address: str) -> Any:
    from ray._raylet import GcsClient

    return GcsClient(address=address)


def within(limit_s: float, call: Callable[[], object]) -> bool:
    """Return whether `call` has ended after `limit_s`; what it raises is raised here."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True, name="gcs-connect")
    thread.start()
    thread.join(limit_s)

    if failure:
        raise failure[0]

    return not thread.is_alive()


def _token_refused(address: str) -> PermissionMissing:
    """Say which side of a token mismatch is wrong."""
    mode = os.environ.get(shelf.AUTH_MODE_VARIABLE, "").lower()

    if not _has_token():
        return PermissionMissing(
            f"The cluster at {address} wants a token, and none is set here.",
            help_text="Set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, or put it into ~/.ray/auth_token "
            "(`ray get-auth-token` prints it on the cluster's head).",
        )

    if mode == "disabled":
        return PermissionMissing(
            f"The cluster at {address} wants a token, and RAY_AUTH_MODE=disabled is set here.",
            help_text=f"Unset RAY_AUTH_MODE; there is a token in {token_place()}.",
        )

    return PermissionMissing(
        f"The cluster at {address} refused the token in {token_place()}: it is another cluster's.",
        help_text="Set RAY_AUTH_TOKEN to this cluster's token (`ray get-auth-token` on its head).",
    )


def version_error(error: Exception) -> VersionUnsupported | None:
    """Return Ray's refusal of another version as one sentence, None for any other error."""
    text = str(error)

    if shelf.VERSION_MISMATCH not in text:
        return None

    facts = " ".join(text.split())[:300]
    return VersionUnsupported(
        f"This environment's Ray or Python is not the cluster's: {facts}",
        help_text="Run dsray-inspect from the cluster's own image or environment.",
    )
