"""Which ports answer a connection, and what is said of those that do not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from dsray_inspect.agent.sampling import reachability
from dsray_inspect.agent.unavailable import Unavailable

Place = tuple[str, int]


@pytest.fixture
def open_place() -> Iterator[Place]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def closed_place() -> Place:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host, port = closed.getsockname()

    return host, port


def test_only_places_that_do_not_answer_are_named(open_place: Place, closed_place: Place) -> None:
    host, port = closed_place
    detail = f"{host}:{port}: Connection refused"
    assert reachability.knock({"open": open_place, "closed": closed_place}) == {
        "closed": Unavailable(reason="failed", detail=detail)
    }


def test_silence_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silent)
    assert reachability.knock({"n2": ("10.0.0.2", 7000)}) == {
        "n2": Unavailable(reason="timeout", detail="no answer from 10.0.0.2:7000 in 1 s")
    }
