"""A single-node Ray cluster with its own ports, folder and token; other clusters are not touched."""

from __future__ import annotations

import os
import random
import secrets
import site
import socket
import subprocess
import sys
from pathlib import Path

from dsray_inspect.agent.demo.dashboard import Dashboard
from dsray_inspect.agent.demo.descendants import with_death_signal
from dsray_inspect.agent.remote.gpus import read_gpus

_HOST = "127.0.0.1"
_LOWEST_PORT = 20_000
_OBJECT_STORE_BYTES = 128 << 20
_LOG_LINES = 12
_TEMPORARY = "tmp"
"""Below the demo's home folder, so that files of torch and multiprocessing are removed with it."""


class Cluster:
    """A cluster to `start`; it ends when this process's descendants are killed."""

    def __init__(self, folder: Path, *, slots: int, op_cache: Path) -> None:
        self._folder = folder
        self._slots = slots
        self._home = folder / "home"
        self._home.mkdir()
        (self._home / _TEMPORARY).mkdir()
        self._log = folder / "ray-start.log"
        self._ports = _free_ports(6)
        self._process: subprocess.Popen[bytes] | None = None
        token = self._write_token()
        self.env = _environment(self._home, slots=slots, op_cache=op_cache, token=bool(token))
        self.address = f"{_HOST}:{self._ports[0]}"
        self.dashboard = Dashboard(f"http://{_HOST}:{self._ports[1]}", token)

    def _write_token(self) -> str | None:
        """Write the token where Ray looks for it, and return it; None if authentication is off."""
        if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
            return None

        token = _user_token() or secrets.token_hex(32)
        path = self._home / ".ray" / "auth_token"
        path.parent.mkdir(mode=0o700)
        path.touch(mode=0o600)
        path.write_text(token)
        return token

    def client_env(self) -> dict[str, str]:
        """Return the environment for a `dsray-inspect` that attaches to this cluster."""
        names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
        given = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"}
        return given | {name: self.env[name] for name in names if name in self.env}

    def start(self) -> None:
        port, dashboard_port, client_port, agent_port, *metrics = map(str, self._ports)
        argv = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--disable-usage-stats", f"--node-ip-address={_HOST}", f"--port={port}"),
            *(f"--dashboard-host={_HOST}", f"--dashboard-port={dashboard_port}"),
            *(f"--ray-client-server-port={client_port}", f"--temp-dir={self._folder / 'ray'}"),
            *(f"--dashboard-agent-listen-port={agent_port}", "--include-dashboard=true"),
            # 0 lets the kernel choose; Ray's default is the same range for all clusters.
            *("--min-worker-port=0", "--max-worker-port=0"),
            *(f"--num-cpus={self._slots + 2}", f"--num-gpus={self._slots}"),
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
        ]
        names = ("AUTOSCALER_METRIC_PORT", "DASHBOARD_METRIC_PORT")

        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                with_death_signal(argv),
                env=self.env | dict(zip(names, metrics, strict=True)),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def log_end(self) -> str:
        """Return the last lines of Ray's log."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n  ".join(line for line in lines[-_LOG_LINES:] if line.strip())


def _environment(home: Path, *, slots: int, op_cache: Path, token: bool) -> dict[str, str]:
    """Return this environment without settings for other clusters, with a home in the demo's folder."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RAY_") and name != "CUDA_VISIBLE_DEVICES"
    }
    chosen = {
        "PATH": search_path(),
        "HOME": str(home),
        "TMPDIR": str(home / _TEMPORARY),
        # Packages of `pip install --user` are in the real home.
        "PYTHONUSERBASE": site.getuserbase(),
        "TORCH_EXTENSIONS_DIR": str(op_cache),
        "DS_ACCELERATOR": "cpu",
        "GLOO_SOCKET_IFNAME": "lo",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token" if token else "disabled",
    }
    chosen |= {"RAY_AUTH_TOKEN_PATH": str(home / ".ray" / "auth_token")} if token else {}
    gpus = len(read_gpus()[0])

    if gpus:
        # Slots without devices: the demo must not use any GPU.
        chosen["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpus + slot) for slot in range(slots))

    return kept | chosen


def search_path() -> str:
    """Return PATH with this interpreter's folder first, so that `python` is this one."""
    return os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)))


def _user_token() -> str | None:
    """Return the user's own Ray token, from where Ray would look for it."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token

    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")

    try:
        return Path(path).read_text().strip() or None
    except OSError:
        return None


def _free_ports(count: int) -> list[int]:
    """Return unused ports below the range for outgoing connections."""
    held: list[socket.socket] = []

    try:
        for port in random.sample(range(_LOWEST_PORT, _lowest_ephemeral_port()), 500):
            end = socket.socket()

            try:
                end.bind((_HOST, port))
            except OSError:
                end.close()
                continue

            held.append(end)

            if len(held) == count:
                break

        return [end.getsockname()[1] for end in held]
    finally:
        for end in held:
            end.close()


def _lowest_ephemeral_port() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        return max(_LOWEST_PORT + 1000, int(text.split()[0]))
    except (OSError, ValueError):
        return 32_768
