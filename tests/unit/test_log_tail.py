"""The ends of log files: what is read of them, and that no secret leaves the node with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dsray_inspect.agent.model import Log, LogFile
from dsray_inspect.agent.remote.log_tail import LINE_WIDTH, TAIL_BYTES, end_of, tail_of, tails_of
from dsray_inspect.agent.text.logs import logs_text
from tests.unit.snapshots import changed, recorded

TOKEN = "hf_planted0000000000000000000000000"
KEY_LINE = "MIIEpAIBAAKCAQEAplanted0000000000000000000000000000000000000000"


def end(path: Path, data: bytes | str, *, lines: int = 20, is_json: bool = False) -> dict[str, Any]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return end_of(str(path), known=(), lines=lines, is_json=is_json)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker-w1-01000000-7.out"


def test_the_last_lines(path: Path) -> None:
    text = ":job_id:01000000\n:actor_name:RayTrainWorker\n" + "".join(f"{n}\n" for n in range(30))
    assert end(path, text, lines=3)["lines"] == ["27", "28", "29"]
    assert not end(path, text, lines=3)["is_whole"]
    assert end(path, text, lines=30)["is_whole"]
    assert end(path, text)["age_s"] < 60
    assert end(path, "")["lines"] == []


def test_what_a_terminal_would_show(path: Path) -> None:
    text = " 1%|#\r 2%|##\r\x1b[32m 3%|###\x1b[0m\r\n\n\x1b]0;title\x07\tdone\x07\u202e\n"
    assert end(path, text)["lines"] == [" 3%|###", "    done"]


def test_secrets_stay(path: Path) -> None:
    url = "postgres://me:planted-word@db.example.org/runs"
    text = f"login {TOKEN}\nPASSWORD=planted-word\n{url}\nstep 1 loss 0.5\n"
    shown = end(path, text)["lines"]
    assert "planted" not in "".join(shown)
    assert shown[-1] == "step 1 loss 0.5"


def test_a_secret_is_hidden_before_a_line_is_cut(path: Path) -> None:
    head = "x " * ((LINE_WIDTH - 12) // 2)
    (line,) = end(path, f"{head}{TOKEN}\n")["lines"]
    assert "hf_" not in line
    (long,) = end(path, "y " * 3_999 + f"{TOKEN}\n")["lines"]
    assert len(long) == LINE_WIDTH
    # Half of it is beyond what is looked at, and what is before it becomes short.
    (left,) = end(path, "token=" + "z" * 7_980 + f" {TOKEN}\n")["lines"]
    assert left == "token=<redacted> …"


def test_a_private_key_is_hidden_whole_and_torn(path: Path) -> None:
    begin, over = "-----BEGIN RSA PRIVATE KEY-----\n", "-----END RSA PRIVATE KEY-----\n"
    body = f"{KEY_LINE}\n" * 20
    whole = end(path, f"before\n{begin}{body}{over}after\n")["lines"]
    assert whole == ["before", "<redacted>", "after"]
    assert end(path, f"before\n{begin}{body}")["lines"] == ["before", "<redacted>"]
    torn = end(path, begin + f"{KEY_LINE}\n" * (TAIL_BYTES // len(KEY_LINE)) + f"{over}after\n")
    assert torn["lines"] == ["<redacted>", "after"]


def test_only_the_end_is_read(path: Path) -> None:
    line = b"a line of a log that goes on and on\n"
    with path.open("wb") as file:
        file.write(b"PASSWORD=" + b"first" * TAIL_BYTES)
        file.seek(8 << 30)  # a file with a hole: whoever reads all of it is not done today
        file.write(b"\n" + line * 5)

    found = end_of(str(path), known=(), lines=20, is_json=False)
    assert found["lines"][-5:] == [line.decode().strip()] * 5
    assert not found["is_whole"]


def test_a_line_without_its_beginning_is_left_out(path: Path) -> None:
    assert end(path, "PASSWORD=" + "secret" * TAIL_BYTES)["lines"] == []
    assert end(path, "PASSWORD=" + "secret" * TAIL_BYTES + "\nnext\n")["lines"] == ["next"]


def test_torn_characters(path: Path) -> None:
    assert end(path, "Zähler\n".encode() + "ü".encode()[:1])["lines"] == ["Zähler"]
    assert end(path, b"a \xff b\n")["lines"] == ["a \ufffd b"]
    assert end(path, "ü".encode() * TAIL_BYTES + "\nnächste\n".encode())["lines"] == ["nächste"]


def test_ray_trains_own_log(path: Path) -> None:
    records = [
        {"asctime": "2026-01-02 03:04:05,678", "levelname": "INFO", "message": f"key {TOKEN}\nb"},
        {
            "asctime": "2026-01-02 03:04:06,000",
            "levelname": "ERROR",
            "message": "bad",
            "exc_text": "Traceback\nValueError: PASSWORD=planted-word",
        },
    ]
    text = "\n".join(map(json.dumps, records)) + f'\n{{"half": "{TOKEN}'
    assert end(path, text, is_json=True)["lines"] == [
        "2026-01-02 03:04:05,678 INFO key <redacted>",
        "b",
        "2026-01-02 03:04:06,000 ERROR bad",
        "Traceback",
        "ValueError: PASSWORD=<redacted>",
        '{"half": "<redacted>',
    ]


def test_secrets_of_the_workers_environment(tmp_path: Path) -> None:
    """A secret without a telling shape or name, known from the variable that it stands in."""
    secret = 'planted "and" plain'
    env = {"MY_PASSWORD": secret}
    (tmp_path / "worker-w1-01-7.err").write_text(f"it is {secret} here\n")
    (tmp_path / "train").mkdir()
    record = {"asctime": "now", "levelname": "INFO", "message": f"it is {secret} here"}
    (tmp_path / "train" / "ray-train-app-worker-w1.log").write_text(json.dumps(record))
    argv = [sys.executable, "-c", "print(1, flush=True); input()"]

    with subprocess.Popen(
        argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = tail_of(str(tmp_path), "w1", pid=process.pid, lines=9)
        process.communicate("")

    shown = [file["lines"] for file in found["files"]]
    assert shown == [["it is <redacted> here"], ["now INFO it is <redacted> here"]]


def test_a_tail_is_withheld_where_the_secrets_are_not_known(tmp_path: Path) -> None:
    (tmp_path / "worker-w1-01-7.err").write_text("it is plain-word here\n")
    found = tail_of(str(tmp_path), "w1", pid=-1, lines=9)
    assert found["files"] == []
    assert "the secrets in its environment are not known" in found["why"]


def test_which_files_are_whose(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "train").mkdir(parents=True)
    for name in ("worker-w1-01-7.out", "worker-w1-01-7.err", "worker-w2-01-8.out"):
        (logs / name).write_text(name)
    (logs / "train" / "ray-train-app-worker-w1.log").write_text("train\n")

    request = {"workers": dict.fromkeys(("w1", "w2", "w3"), os.getpid()), "lines": 5}
    found = tails_of(str(tmp_path), request)
    streams = {name: [file["stream"] for file in log["files"]] for name, log in found.items()}
    assert streams == {"w1": ["stdout", "stderr", "train"], "w2": ["stdout"], "w3": []}
    assert [found["w1"]["why"], found["w2"]["why"]] == ["ok", "ok"]
    assert "rotated away" in found["w3"]["why"]
    assert str(logs) in found["w3"]["why"]
    assert "does not say" in tails_of("", request)["w1"]["why"]


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of somebody else\n")
    (tmp_path / "worker-w1-01-7.out").symlink_to(secret)
    os.mkfifo(tmp_path / "worker-w1-01-7.err")
    found = tail_of(str(tmp_path), "w1", pid=os.getpid(), lines=5)
    assert found["files"] == []
    assert found["why"].count("cannot be read") == 2


def test_as_text() -> None:
    out = LogFile(stream="stdout", path="/logs/a.out", age_s=3.2, lines=("a", ""), is_whole=False)
    err = LogFile(stream="stderr", path="/logs/a.err", age_s=90, lines=(), is_whole=True)
    snapshot = changed(recorded("hung"), 0, rank=1, log=Log(hostname="vm", files=(out, err)))
    assert logs_text(snapshot).splitlines() == [
        "log of rank 1  on vm",
        "  stdout  the last 2 lines, written 3.2 s ago  /logs/a.out",
        "  │ a",
        "  │",
        "  stderr  nothing was written to it  /logs/a.err",
    ]
    none = changed(snapshot, 0, rank=1, log=Log(hostname="vm", files=(), why="its node is gone"))
    assert logs_text(none).splitlines()[1] == "  None could be read: its node is gone."
    assert logs_text(recorded("hung")) == ""
