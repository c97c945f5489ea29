"""Installing probes and leaving, as the calls into a rank do it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.probes import wire
from dsray_inspect.agent.probes.collect import Collector
from dsray_inspect.agent.probes.install import install, tidy, uninstall
from dsray_inspect.agent.probes.probe import installed


@pytest.fixture
def in_shm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the real targets nothing to find: no DeepSpeed and no Ray is in this process."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("deepspeed", "ray")]:
        monkeypatch.delitem(sys.modules, name)

    yield
    probe = installed()

    if probe is not None:
        probe.take_out()


def put_in(token: int, **more: Any) -> dict[str, Any]:
    request = {"token": token, "lease_s": 60.0, "capacity": 64, **more}
    return install(None, request, {})


@pytest.mark.usefixtures("in_shm")
def test_two_sessions_share_one_ring_and_the_last_takes_it_away() -> None:
    first, second = put_in(1)["probe"], put_in(2)["probe"]
    assert first["ring"] == second["ring"]
    assert (first["joined"], second["joined"]) == (False, True)
    assert uninstall(None, {"token": 1}, {}) == {"gone": False, "covered": []}
    assert Path(first["ring"]).exists()
    assert uninstall(None, {"token": 2}, {}) == {"gone": True, "covered": []}
    assert not Path(first["ring"]).exists()
    assert uninstall(None, {"token": 2}, {}) == {"gone": True, "covered": []}


@pytest.mark.usefixtures("in_shm")
def test_a_session_that_is_gone_does_not_keep_the_probe_of_another() -> None:
    put_in(1, lease_s=0.0)
    ring = put_in(2)["probe"]["ring"]
    assert uninstall(None, {"token": 2}, {})["gone"]
    assert not Path(ring).exists()


@pytest.mark.usefixtures("in_shm")
def test_whoever_looks_takes_an_orphan_out() -> None:
    ring = put_in(1, lease_s=0.0)["probe"]["ring"]
    assert tidy(None, {}, {}) == {}
    assert installed() is None
    assert not Path(ring).exists()


@pytest.mark.usefixtures("in_shm")
def test_a_held_probe_is_left_in_peace() -> None:
    put_in(1)
    tidy(None, {}, {})
    assert installed() is not None


@pytest.mark.usefixtures("in_shm")
def test_another_version_is_not_joined() -> None:
    put_in(1)
    installed().version = wire.VERSION + 1
    assert put_in(2) == {
        "probe": None,
        "probe_why": "another version of dsray-inspect is tracing this rank",
    }


@pytest.mark.usefixtures("in_shm")
def test_a_job_may_forbid_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSRAY_INSPECT_DISABLE", "1")
    assert put_in(1)["probe_why"] == "the job forbids it: DSRAY_INSPECT_DISABLE is set"
    assert installed() is None


@pytest.mark.usefixtures("in_shm")
def test_a_full_shm_is_said_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = set(Path("/dev/shm").glob("dsray*"))
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert "no ring can be created" in put_in(1)["probe_why"]
    assert set(Path("/dev/shm").glob("dsray*")) == before


@pytest.mark.usefixtures("in_shm")
def test_the_collector_renews_reads_and_gives_back() -> None:
    ring = put_in(1, lease_s=0.0)["probe"]["ring"]
    collector = Collector()
    request = {
        "until": time.time() + 60,
        "token": 1,
        "lease_s": 60.0,
        "rings": [ring, "/dev/shm/dsray-0-none"],
        "joined": {},
        "last": False,
    }
    answer = collector.collect(request)["rings"]
    assert answer[ring]["records"] == b""
    assert answer[ring]["alive"]
    assert "FileNotFoundError" in answer["/dev/shm/dsray-0-none"]["why"]
    tidy(None, {}, {})
    assert installed() is not None
    collector.collect({**request, "rings": [ring], "lease_s": 0.0, "last": True})
    tidy(None, {}, {})
    assert installed() is None


def test_the_code_runs_where_nothing_of_ours_is_installed() -> None:
    """Sent by value, as to a rank: unpickled by a Python that cannot import dsray_inspect."""
    from ray import cloudpickle

    from dsray_inspect.agent import probes

    cloudpickle.register_pickle_by_value(probes)

    try:
        sent = [cloudpickle.dumps(part) for part in (install, tidy, uninstall, Collector)]
    finally:
        cloudpickle.unregister_pickle_by_value(probes)

    script = (
        "import pickle, sys\n"
        "sys.modules['dsray_inspect'] = None\n"
        f"install, tidy, uninstall, Collector = map(pickle.loads, {sent!r})\n"
        "request = {'token': 1, 'lease_s': 60.0, 'capacity': 64}\n"
        "probe = install(None, request, {})['probe']\n"
        "tidy(None, {}, {})\n"
        "collect = {'until': 1e12, 'token': 1, 'lease_s': 9.0, 'rings': [probe['ring']],\n"
        "           'joined': {}, 'last': True}\n"
        "answer = Collector().collect(collect)['rings'][probe['ring']]\n"
        "assert answer['records'] == b'' and answer['alive'], answer\n"
        "assert uninstall(None, {'token': 1}, {})['gone']\n"
        "assert not [name for name in sys.modules if 'dsray' in name and sys.modules[name]]\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=script,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
