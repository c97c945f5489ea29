"""What `serve` answers over HTTP, and to whom."""

from __future__ import annotations

import gzip
import json
import socket
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsray_inspect.agent.errors import UsageError
from dsray_inspect.exporters import bind, discovery
from dsray_inspect.exporters.endpoint import SILENT_S, Endpoint, Heartbeat
from dsray_inspect.exporters.latest_sample import LatestSample
from dsray_inspect.exporters.prometheus import Collector, registry
from tests.unit import snapshots

TOKEN = "0123456789abcdef0123"
LOOPBACK = bind.BindAddress(host="127.0.0.1", port=0)


@pytest.fixture
def board() -> LatestSample:
    latest = LatestSample()
    latest.put(snapshots.recorded("hung"))
    return latest


@pytest.fixture
def endpoint(board: LatestSample) -> Iterator[Endpoint]:
    own = registry(Collector(board))
    with Endpoint(LOOPBACK, own, token=None, towards="127.0.0.1:6379") as endpoint:
        yield endpoint


@pytest.fixture
def guarded(board: LatestSample) -> Iterator[Endpoint]:
    own = registry(Collector(board))
    with Endpoint(LOOPBACK, own, token=TOKEN, towards="127.0.0.1:6379") as endpoint:
        yield endpoint


def get(endpoint: Endpoint, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://{endpoint.target}{path}", headers=named)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_metrics(endpoint: Endpoint) -> None:
    status, body, headers = get(endpoint, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert b'dsray_verdict{run_id="' in body
    assert endpoint.scrapes == 1


def test_metrics_as_prometheus_asks(endpoint: Endpoint) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"
    _, body, headers = get(endpoint, "/metrics", Accept=accept, Accept_Encoding="gzip")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert gzip.decompress(body).endswith(b"# EOF\n")


def test_service_discovery(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_CLUSTER_NAME", "night")
    status, body, headers = get(endpoint, "/sd")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == [
        {"targets": [endpoint.target], "labels": {"ray_io_cluster": "night"}}
    ]


def test_other_paths_and_methods(endpoint: Endpoint) -> None:
    assert get(endpoint, "/")[0] == 200
    assert get(endpoint, "/metrics/../etc/passwd")[0] == 404
    request = urllib.request.Request(f"http://{endpoint.target}/metrics", method="POST", data=b"")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 405
    refused.value.close()


def test_health_tells_when_no_sample_is_taken(endpoint: Endpoint) -> None:
    assert get(endpoint, "/healthz")[:2] == (200, b"ok\n")
    now = [0.0]
    endpoint.heartbeat = Heartbeat(monotonic=lambda: now[0])
    now[0] = SILENT_S + 1
    assert get(endpoint, "/healthz")[:2] == (503, b"no sample for 121 s\n")


@pytest.mark.parametrize("path", ["/metrics", "/sd", "/", "/nothing"])
@pytest.mark.parametrize(
    "sent", [None, "Bearer wrong", "Basic " + TOKEN, TOKEN, "Bearer", "Bearer é"]
)
def test_without_the_token_there_is_nothing(guarded: Endpoint, path: str, sent: str | None) -> None:
    status, body, headers = get(guarded, path, **({"Authorization": sent} if sent else {}))
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="dsray-inspect"')
    assert b"dsray_" not in body


def test_with_the_token_there_is_all(guarded: Endpoint) -> None:
    assert get(guarded, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert get(guarded, "/sd", Authorization=f"bearer  {TOKEN} ")[0] == 200
    assert get(guarded, "/healthz")[0] == 200


def test_a_client_that_says_nothing_keeps_nobody_out(endpoint: Endpoint) -> None:
    host, _, port = endpoint.target.rpartition(":")
    with socket.create_connection((host, int(port))):
        assert get(endpoint, "/healthz")[0] == 200


def test_scrapes_may_come_while_samples_are_put_up(board: LatestSample, endpoint: Endpoint) -> None:
    stop = threading.Event()
    first = snapshots.recorded("hung")

    def look() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            board.put(snapshots.restarted(first, number) if number % 2 else first)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        bodies = [get(endpoint, "/metrics")[1] for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert all(body.count(b"\ndsray_rank_info{") == 3 for body in bodies)


def test_a_taken_port_is_one_sentence(endpoint: Endpoint, board: LatestSample) -> None:
    port = int(endpoint.target.rpartition(":")[2])
    where = bind.BindAddress(host="127.0.0.1", port=port)
    with pytest.raises(UsageError, match=f"Port {port} is in use") as error:
        Endpoint(where, registry(Collector(board)), token=None, towards="")
    assert f"--listen 127.0.0.1:{port + 1}" in error.value.help_text


def test_an_address_that_is_not_ours_is_one_sentence(board: LatestSample) -> None:
    where = bind.BindAddress(host="192.0.2.7", port=9464)
    with pytest.raises(UsageError, match=r"Cannot listen on 192\.0\.2\.7:9464"):
        Endpoint(where, registry(Collector(board)), token=TOKEN, towards="")


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464, True),
        ("127.9.9.9:1", "127.9.9.9", 1, True),
        ("localhost:80", "localhost", 80, True),
        ("[::1]:9000", "::1", 9000, True),
        ("[::]:9000", "::", 9000, False),
        ("0.0.0.0:0", "0.0.0.0", 0, False),
        ("10.0.0.5", "10.0.0.5", 9464, False),
        ("localhost.evil.example:80", "localhost.evil.example", 80, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    parsed = bind.parse(text)
    assert (parsed.host, parsed.port, parsed.is_loopback) == (host, port, loopback)


@pytest.mark.parametrize("text", ["", ":", ":9464", "host:", "host:x", "host:70000", "::1:80"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="is not an address"):
        bind.parse(text)


def test_others_may_not_reach_us_without_a_token() -> None:
    with pytest.raises(UsageError, match="no token is set"):
        bind.token_of(None, bind.parse("0.0.0.0:9464"))
    assert bind.token_of(None, bind.parse("127.0.0.1:9464")) is None


def test_tokens_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    assert bind.token_of(str(path), bind.parse("0.0.0.0:9464")) == TOKEN


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"short\n", b"two words two words\n", b"\xff" * 32]
)
def test_what_is_no_token(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="token"):
        bind.token_of(str(path), LOOPBACK)


def test_a_token_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        bind.token_of(str(tmp_path / "none"), LOOPBACK)


def test_how_others_reach_us() -> None:
    assert bind.reachable_host(bind.parse("[::1]:1"), "") == "[::1]"
    assert bind.reachable_host(bind.parse("10.1.2.3:1"), "") == "10.1.2.3"
    assert bind.reachable_host(bind.parse("0.0.0.0:1"), "127.0.0.1:6379") == "127.0.0.1"


def test_the_file_for_service_discovery_comes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    path.write_text("old")
    with discovery.published_file(str(path), "127.0.0.1:9464"):
        assert json.loads(path.read_text()) == [{"targets": ["127.0.0.1:9464"], "labels": {}}]
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert [file.name for file in tmp_path.iterdir()] == ["targets.json"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_has_written_since_stays(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    with discovery.published_file(str(path), "127.0.0.1:9464"):
        discovery._replace(path, b"[]")
    assert path.read_bytes() == b"[]"


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="cannot be written: No such file"),
        discovery.published_file(str(tmp_path / "none" / "x.json"), "127.0.0.1:1"),
    ):
        pass
