"""The HTTP server of `serve`: /metrics, /sd and /healthz, in its own threads."""

from __future__ import annotations

import errno
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.exporters import discovery
from dsray_inspect.exporters.bind import BindAddress, is_allowed, reachable_host

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_REQUEST_S: Final = 10.0
"""A client that has not sent its request by then is disconnected."""
SILENT_S: Final = 120.0
"""/healthz fails when no sample was attempted for this long."""
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")
_PAGE: Final = b"dsray-inspect: /metrics for Prometheus, /sd for its service discovery, /healthz\n"


class Heartbeat:
    """When the sampling thread was last alive."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._at = monotonic()

    def beat(self) -> None:
        self._at = self._monotonic()

    def silent_s(self) -> float:
        return self._monotonic() - self._at


class Endpoint:
    """Serves requests inside its `with` block; the port is bound by the constructor.

    Args:
        listen: The address to listen on.
        registry: The metrics to expose.
        token: The bearer token requests must carry, None for no check.
        towards: The cluster's address, which picks the network interface to advertise.
        silent_s: /healthz fails when no heartbeat came for this long.
    """

    def __init__(
        self,
        listen: BindAddress,
        registry: CollectorRegistry,
        *,
        token: str | None,
        towards: str,
        silent_s: float = SILENT_S,
    ) -> None:
        self.heartbeat = Heartbeat()
        self.scrapes = 0
        self._token = token
        self._silent_s = silent_s
        self._metrics = make_wsgi_app(registry)
        self._server = _bind(listen)
        self._server.set_app(self._answer)
        port = self._server.server_port
        self.target = f"{reachable_host(listen, towards)}:{port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.2},
            daemon=True,
            name="http",
        )

    def __enter__(self) -> Endpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")

        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _plain(
                start,
                "405 Method Not Allowed",
                b"Only GET and HEAD are supported.\n",
                ("Allow", "GET, HEAD"),
            )

        if path == "/healthz":
            return self._health(start)

        if not is_allowed(self._token, environ.get("HTTP_AUTHORIZATION", "")):
            wants = ("WWW-Authenticate", 'Bearer realm="dsray-inspect"')
            return _plain(start, "401 Unauthorized", b"A bearer token is required.\n", wants)

        if path == "/metrics":
            self.scrapes += 1
            answer: Iterable[bytes] = self._metrics(environ, start)
            return answer

        if path == "/sd":
            start("200 OK", [("Content-Type", "application/json")])
            return [discovery.document(self.target)]

        if path == "/":
            return _plain(start, "200 OK", _PAGE)

        return _plain(start, "404 Not Found", b"Try /metrics, /sd or /healthz.\n")

    def _health(self, start: StartResponse) -> Iterable[bytes]:
        silent_s = self.heartbeat.silent_s()

        if silent_s > self._silent_s:
            return _plain(
                start, "503 Service Unavailable", f"no sample for {silent_s:.0f} s\n".encode()
            )

        return _plain(start, "200 OK", b"ok\n")


def _plain(
    start: StartResponse, status: str, body: bytes, *headers: tuple[str, str]
) -> Iterable[bytes]:
    start(status, [_TEXT, *headers])
    return [body]


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Answers each request in a thread that ends with the process."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def server_bind(self) -> None:
        """Bind without resolving the local host name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, _request: Any, _address: Any) -> None:
        """Ignore it: a client that disconnects is no error of the server."""


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_S

    def log_message(self, format: str, *args: Any) -> None:
        """Ignore it: one line per scrape is noise."""


def _bind(listen: BindAddress) -> _Server:
    """Return a listening server.

    Raises:
        UsageError: The port is taken, or the address does not belong to this machine.
    """
    kind = type("Bound", (_Server,), {"address_family": listen.family})

    try:
        server: _Server = kind((listen.host, listen.port), _Handler)
    except OSError as error:
        raise _bind_error(listen, error) from error

    return server


def _bind_error(listen: BindAddress, error: OSError) -> UsageError:
    at = f"{listen.host}:{listen.port}"

    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"Port {listen.port} is in use: another process already listens on {at}.",
            help_text=f"Choose another port: --listen {listen.host}:{listen.port + 1}",
        )

    return UsageError(f"Cannot listen on {at}: {error.strerror or error}.")
