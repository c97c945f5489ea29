"""Whose environment is read, and that nothing is shown whose secrets are not known."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsray_inspect.agent.remote import environ, process, process_secrets
from dsray_inspect.agent.remote.environ import EnvironUnreadable, live_environ
from dsray_inspect.agent.remote.log_tail import tail_of
from dsray_inspect.agent.remote.node import redact_locals
from dsray_inspect.agent.remote.postmortem import post_mortem
from dsray_inspect.agent.remote.process_secrets import node_secrets
from dsray_inspect.agent.remote.redaction import REDACTED

SYSTEM_PYTHON = "/usr/bin/python3"
CHANGES = (
    "import os; os.environ['LATE_PASSWORD'] = 'plain late word'; os.environ.pop('GONE_PASSWORD');"
    "print(1, flush=True); input()"
)
AT_EXEC = {"MY_PASSWORD": "plain first word", "GONE_PASSWORD": "plain gone word"}


def is_fixed(path: str) -> bool:
    """Return whether an executable is linked at a fixed address: ELF type `ET_EXEC`."""
    try:
        return Path(path).read_bytes()[16:18] == b"\x02\x00"
    except OSError:
        return False


non_pie = pytest.param(
    SYSTEM_PYTHON,
    id="non-PIE",
    marks=pytest.mark.skipif(
        not is_fixed(SYSTEM_PYTHON), reason=f"{SYSTEM_PYTHON} is no non-PIE executable here"
    ),
)
interpreters = pytest.mark.parametrize("python", [pytest.param(sys.executable, id="own"), non_pie])


@contextmanager
def running(*argv: str, **env: str) -> Iterator[int]:
    """Run a program that prints a line and then waits; yield its pid."""
    with subprocess.Popen(
        argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()

        try:
            yield child.pid
        finally:
            child.communicate("")


@interpreters
def test_the_live_environment_of_another_process(python: str) -> None:
    with running(python, "-c", CHANGES, **AT_EXEC) as pid:
        found = live_environ(pid)

    assert found["MY_PASSWORD"] == "plain first word"
    assert found["LATE_PASSWORD"] == "plain late word"
    assert "GONE_PASSWORD" not in found


@interpreters
def test_no_secret_of_a_variable_is_in_a_log_tail(python: str, tmp_path: Path) -> None:
    secrets = [*AT_EXEC.values(), "plain late word"]
    (tmp_path / "worker-w1-01-7.err").write_text(
        "".join(f"it is {secret} here\n" for secret in secrets)
    )

    with running(python, "-c", CHANGES, **AT_EXEC) as pid:
        found = tail_of(str(tmp_path), "w1", pid=pid, lines=9)

    assert found["why"] == "ok"
    assert found["files"][0]["lines"] == ["it is <redacted> here"] * 3


def unreadable(*_: object) -> dict[str, str]:
    raise EnvironUnreadable("no ptrace right to read the process's memory")


def test_without_the_right_to_read_memory_the_environment_of_exec_time_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_secrets, "live_environ", unreadable)

    with running(sys.executable, "-c", CHANGES, **AT_EXEC) as pid:
        assert sorted(process_secrets.process_secrets(pid)) == sorted(AT_EXEC.values())


def test_a_process_that_is_gone_has_no_known_secrets() -> None:
    with pytest.raises(EnvironUnreadable, match="gone"):
        process_secrets.process_secrets(-1)


def test_an_environment_that_is_not_set_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(bytes(64))

    with (tmp_path / "memory").open("rb") as memory, pytest.raises(ValueError, match="not set"):
        environ._read_variables(memory, 0)


def dump_of(**values: str) -> bytes:
    named = [{"name": name, "repr": value} for name, value in values.items()]
    return json.dumps([{"frames": [{"locals": named}]}]).encode()


def shown_locals(pid: int, **values: str) -> dict[str, str]:
    (thread,) = json.loads(redact_locals(pid, dump_of(**values)))
    return {local["name"]: local["repr"] for local in thread["frames"][0]["locals"]}


def test_a_local_with_a_known_secret_is_hidden() -> None:
    """Also one that py-spy has cut, or that its repr writes otherwise."""
    secret = "it's plain " + "word " * 99

    with running(sys.executable, "-c", CHANGES, MY_PASSWORD=secret, GONE_PASSWORD="") as pid:
        shown = shown_locals(pid, a=repr(secret), b=f"{secret!r:.60}...", step="12")

    assert shown == {"a": REDACTED, "b": REDACTED, "step": "12"}


def test_all_locals_are_hidden_where_no_secret_is_known() -> None:
    assert shown_locals(-1, word="plain word", step="12") == {"word": REDACTED, "step": REDACTED}


def test_a_command_line_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = (sys.executable, "-c", CHANGES, "plain first word")

    with running(*argv, **AT_EXEC) as pid:
        shown = process.probe(pid, {}, threads=False, counters=False)
        assert shown["command"].startswith(sys.executable)
        assert "plain" not in shown["command"].replace("plain late word", "")
        monkeypatch.setattr(process, "exec_secrets", unreadable)
        shown = process.probe(pid, {}, threads=False, counters=False)

    assert shown["command"] == sys.executable


FAILED = (
    "[FailurePolicy] RAISE\n  Source: worker group\nError: Training failed:\n"
    "[Rank 0 Error Snippet]:\nValueError: it is plain first word"
)


@pytest.fixture
def session(tmp_path: Path) -> str:
    """A session's folder with what a rank and its controller wrote at their end."""
    (tmp_path / "logs" / "train").mkdir(parents=True)
    (tmp_path / "logs" / "worker-w1-01-7.err").write_text("ValueError: it is plain first word\n")
    record = json.dumps({"message": FAILED, "timestamp_ns": 1})
    (tmp_path / "logs" / "train" / "ray-train-sys-controller-c1.log").write_text(record)
    return str(tmp_path)


def kept(session: str) -> tuple[list[str], str]:
    found = post_mortem({"session_dir": session, "controller": "c1", "workers": {"w1": 7}})
    return found["last_words"]["w1"], found["train_log"][0]["message"]


def test_what_a_process_wrote_before_it_died_is_checked_against_its_siblings(session: str) -> None:
    """Its own environment is gone with it."""
    titled = f"exec -a ray::RayTrainWorker {sys.executable} -c 'print(1, flush=True); input()'"

    with running("/bin/bash", "-c", titled, **AT_EXEC) as pid:
        assert "plain first word" in node_secrets()
        words, account = kept(session)
        assert pid in process_secrets._ray_processes()

    assert words == ["ValueError: it is <redacted>"]
    assert account == FAILED.replace("plain first word", REDACTED)


def test_it_is_withheld_where_no_sibling_can_be_read(
    session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_secrets, "_ray_processes", list)
    words, account = kept(session)
    assert "not known" in words[0]
    assert "plain" not in words[0] + account
    # Whose failure it was can still be said.
    assert "[Rank 0 Error Snippet]:" in account.splitlines()
    assert account.startswith("[FailurePolicy] RAISE\n")
    assert "\nError: " in account


def test_every_reader_asks_one_module() -> None:
    """Code that collects secrets on its own could forget to fail closed."""
    folder = Path(process_secrets.__file__).parent
    texts = {path.name: path.read_text() for path in folder.glob("*.py")}
    asking = {name for name, text in texts.items() if "known_secrets" in text}
    assert asking == {"environ.py", "engine.py", "process_secrets.py", "redaction.py"}
