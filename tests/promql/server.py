"""A real Prometheus on a free port of loopback, with what was scraped before as its blocks."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

RULES: Final = Path(__file__).parents[2] / "dashboards" / "prometheus"
RECORDING: Final = RULES / "recording.yml"


class Prometheus:
    """Answers queries; every answer that is no success is an error."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: Any) -> Any:
        query = urllib.parse.urlencode(parameters, doseq=True)

        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=60) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from error

        assert said["status"] == "success", (parameters, said)
        return said["data"]

    def at(self, query: str, time_s: float) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        found: list[dict[str, Any]] = self.get("query", query=query, time=time_s)["result"]
        return found

    def over(self, query: str, start_s: float, end_s: float, step_s: float) -> list[dict[str, Any]]:
        """Return the series of a range query."""
        found: list[dict[str, Any]] = self.get(
            "query_range", query=query, start=start_s, end=end_s, step=step_s
        )["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        groups = self.get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def running(folder: Path, config: Path) -> Iterator[Prometheus]:
    """Run a server over the data in the folder."""
    url = f"http://127.0.0.1:{free_port()}"
    argv = [
        *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"),
        *(
            f"--web.listen-address={url.removeprefix('http://')}",
            "--storage.tsdb.retention.time=99y",
        ),
        *("--log.level=warn", "--web.enable-lifecycle"),
    ]
    with (folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    try:
        wait_until_ready(url, process, folder)
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(60)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 120

    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "prometheus.log").read_text()

        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.05)

    raise AssertionError("Prometheus did not get ready")


def promtool(*args: str) -> str:
    done = subprocess.run(["promtool", *args], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
