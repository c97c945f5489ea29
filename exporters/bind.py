"""Which address `serve` listens on, and which requests it answers: off loopback only those with a token."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from pathlib import Path
from typing import Final

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.agent.model import Record

_DEFAULT_PORT: Final = 9464
_DEFAULT: Final = f"127.0.0.1:{_DEFAULT_PORT}"
_SHORTEST_TOKEN: Final = 16
"""In characters."""


class BindAddress(Record, frozen=True, kw_only=True):
    """An address to listen on."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True

        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_everywhere(self) -> bool:
        return self.host in ("0.0.0.0", "::")

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET


def parse(text: str) -> BindAddress:
    """Return the address that a user wrote as HOST:PORT, [IPV6]:PORT or HOST."""
    host, separator, port = text.rpartition(":")

    if not separator or (text.startswith("[") and text.endswith("]")):
        host, port = text, str(_DEFAULT_PORT)

    if not host or not port.isdigit() or int(port) > 65535 or (":" in host and host[0] != "["):
        raise UsageError(
            f"--listen {text} is not an address.",
            help_text=f"Write HOST:PORT, such as {_DEFAULT} or [::1]:{_DEFAULT_PORT}.",
        )

    return BindAddress(host=host.strip("[]"), port=int(port))


def token_of(path: str | None, listen: BindAddress) -> str | None:
    """Return the token that requests must carry, None if they need none.

    Raises:
        UsageError: Other machines can reach the address and there is no usable token.
    """
    if path is None:
        if listen.is_loopback:
            return None

        raise UsageError(
            f"{listen.host} can be reached from other machines, and no token is set.",
            help_text="Add --token-file FILE, and give Prometheus the same file as its "
            f"credentials_file; or listen on {_DEFAULT}.",
        )

    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise UsageError(f"The token file {path} cannot be read: {why}.") from error

    if len(token) < _SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise UsageError(
            f"The token file {path} holds no token of at least {_SHORTEST_TOKEN} characters.",
            help_text=f"Make one: (umask 077; openssl rand -hex 32 > {path})",
        )

    return token


def is_allowed(token: str | None, authorization: str) -> bool:
    """Return whether to answer a request with this Authorization header."""
    if token is None:
        return True

    scheme, _, given = authorization.partition(" ")
    sent = given.strip().encode("utf-8", "replace")
    return scheme.lower() == "bearer" and hmac.compare_digest(sent, token.encode())


def reachable_host(listen: BindAddress, towards: str) -> str:
    """Return the host under which others reach `listen`.

    For a wildcard address it is the local address of the route to `towards` (HOST:PORT).
    """
    if not listen.is_everywhere:
        return f"[{listen.host}]" if ":" in listen.host else listen.host

    host, _, port = towards.rpartition(":")

    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, int(port)))  # sends nothing
            return str(probe.getsockname()[0])
    except (OSError, ValueError):
        return os.uname().nodename
