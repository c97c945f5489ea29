"""Two real hosts on one machine, a Ray node on each, and a link between them that can be cut.

Each host has its own network, mount, pid, uts and ipc namespace, so its own address, pids,
hostname, `/tmp/ray` and `/dev/shm`. The namespaces have no names and the link never touches
the machine's own network: all of it ends with the host's first process.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.ray import processes, warm
from tests.ray.cluster import (
    EXTENSIONS,
    START_TRIES,
    Ended,
    checked,
    environment,
    outlived_by_none,
)
from tests.ray.jobs import Job
from tests.ray.submission import Submission

DASHBOARD = Path(__file__).with_name("dashboard.py")
URL = "http://127.0.0.1:8265"
TOOLS = ("ip", "unshare", "nsenter")

# The last line keeps the host alive and reaps its orphans.
FIRST_PROCESS = """
set -e
hostname "$1"
mkdir -p /tmp/ray
mount -t tmpfs tmpfs /tmp/ray
mount -t tmpfs -o size=2g tmpfs /dev/shm
ip link set lo up
touch "$2"
while sleep 3600; do :; done
"""

_names = itertools.count(1)
PATIENT = {
    # Ray gives up connections after 20 s without an answer, and a node soon after. A command on a
    # busy machine holds a cut for longer, and the job must be there when the link is back.
    "RAY_grpc_keepalive_timeout_ms": "900000",
    "RAY_health_check_failure_threshold": "300",
}


def why_not() -> str | None:
    """Say why this machine cannot be two hosts, or None."""
    if os.geteuid() != 0:
        return "two hosts need root, to make namespaces"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    return f"two hosts need {', '.join(missing)} (iproute2, util-linux)" if missing else None


class Host:
    """One host: a set of namespaces that lives as long as its first process."""

    def __init__(self, name: str, ip: str, *, folder: Path, mark: str) -> None:
        self.name = name
        self.ip = ip
        self.dir = folder / name
        # Ray's own folder is the host's, whatever TMPDIR says.
        self.env = environment(self.dir / "home", mark, {"RAY_TMPDIR": "/tmp", **PATIENT})

    def __enter__(self) -> Host:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Make the host; its network has only loopback."""
        (self.dir / "home").mkdir(parents=True)
        (self.dir / "tmp").mkdir()
        ready = self.dir / "ready"
        with (self.dir / "host.log").open("wb") as log:
            self._unshare = subprocess.Popen(
                outlived_by_none(
                    [
                        *("unshare", "--net", "--mount", "--pid", "--uts", "--ipc"),
                        *("--fork", "--kill-child", "--mount-proc"),
                        *("sh", "-c", FIRST_PROCESS, "sh", self.name, str(ready)),
                    ],
                    signal="KILL",  # unshare ignores SIGTERM
                ),
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def is_ready() -> bool:
            if self._unshare.poll() is not None:
                raise processes.Unmet(f"{self.name} ended\n{(self.dir / 'host.log').read_text()}")
            return ready.exists()

        processes.wait_for(f"{self.name} to be made", is_ready)
        self.pid = psutil.Process(self._unshare.pid).children()[0].pid

    def stop(self) -> None:
        """End the host and everything in it."""
        if hasattr(self, "_unshare"):
            self._unshare.kill()
            self._unshare.wait()

    def network(self, *argv: str) -> None:
        """Run a command of this machine on the host's network."""
        checked(
            subprocess.run(
                ["nsenter", "-t", str(self.pid), "-n", *argv], capture_output=True, text=True
            )
        )

    def inside(self, *argv: str) -> list[str]:
        """Return the command line that runs a command inside the host."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u", "-i", *argv]

    def run(
        self, *argv: str, timeout: float = 120.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the host, as its user would."""
        return subprocess.run(
            self.inside(*argv),
            env=self.env | dict(env or {}),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )

    def start_ray(self, *args: str, num_cpus: int, num_gpus: int) -> None:
        """Start the host's Ray node in the background."""
        argv = [
            *(*warm.RAY, "start", "--block", "--disable-usage-stats"),
            f"--node-ip-address={self.ip}",
            *(f"--num-cpus={num_cpus}", f"--num-gpus={num_gpus}"),
            *(f"--object-store-memory={200 << 20}", *args),
        ]
        with (self.dir / "ray-start.log").open("wb") as log:
            self.ray = subprocess.Popen(
                self.inside(*argv), env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start_warm(self, mark: str) -> None:
        """Start the process that forks the host's workers, see `tests.ray.warm`."""
        with (self.dir / "warm.log").open("wb") as log:
            self.warm = warm.start(self.inside(), mark, self.env, log)

    def stacks(self, pid: int) -> dict[str, list[str]]:
        """Return the stacks of a process of the host, by the pid it has there."""
        return processes.parse_stacks(self.run(*processes.py_spy(pid)))

    def logs(self) -> str:
        """Return the tail of what `ray start` said."""
        path = self.dir / "ray-start.log"
        tail = path.read_text(errors="replace").splitlines()[-30:] if path.exists() else []
        return "\n".join([f"== {self.name}", *tail])


class TwoHosts:
    """host-a with the head and host-b with a worker node; jobs are submitted on host-a.

    Inside the hosts Ray has its default ports: `dsray-inspect` needs no address there.
    """

    def __init__(self, *, num_cpus: int = 4, num_gpus: int = 2) -> None:
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus
        self.mark = f"{processes.run_id()}/hosts{next(_names)}"
        self._ids = itertools.count(1)

    def __enter__(self) -> TwoHosts:
        EXTENSIONS.mkdir(parents=True, exist_ok=True)
        for left in reversed(range(START_TRIES)):
            self.dir = processes.own_folder()
            self.a = Host("host-a", "10.99.0.1", folder=self.dir, mark=self.mark)
            self.b = Host("host-b", "10.99.0.2", folder=self.dir, mark=self.mark)
            self.address = f"{self.a.ip}:6379"
            try:
                self._start()
                break
            except Ended:
                self.stop()
                if not left:
                    raise
            except BaseException:
                self.stop()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self.a.start()
        self.b.start()
        # Both ends are eth0, because gloo takes one interface name for all ranks.
        peer = ("peer", "name", "eth0", "netns", str(self.b.pid))
        self.a.network("ip", "link", "add", "eth0", "type", "veth", *peer)
        for host in (self.a, self.b):
            host.network("ip", "address", "add", f"{host.ip}/24", "dev", "eth0")
            host.network("ip", "link", "set", "eth0", "up")
        slots = {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus}
        self.a.start_ray("--head", "--port=6379", **slots)
        self._wait_until_alive(self.a)
        self.b.start_ray(f"--address={self.address}", **slots)
        self._wait_until_alive(self.a, self.b)
        for host in (self.a, self.b):
            host.start_warm(self.mark)

    def _wait_until_alive(self, *hosts: Host) -> None:
        def alive() -> bool:
            if any(host.ray.poll() is not None for host in hosts):
                raise Ended("`ray start` ended")
            return self.nodes() == {host.name: "ALIVE" for host in hosts}

        try:
            processes.wait_for("the hosts' Ray", alive, timeout=processes.START_LIMIT_S, every=0.3)
        except processes.Unmet as error:
            raise type(error)(f"{error}\n{self.a.logs()}\n{self.b.logs()}") from None

    def stop(self) -> None:
        """End both hosts, and with them their namespaces and the link."""
        for host in (self.b, self.a):
            host.stop()
            for process in ("ray", "warm"):
                if hasattr(host, process):
                    getattr(host, process).wait()
        processes.end(self.mark)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _nodes(self) -> list[dict[str, Any]]:
        summary = self.call("GET", "/nodes?view=summary")
        rows = summary["data"]["summary"] if isinstance(summary, dict) else []
        return [row for row in rows if "hostname" in row]

    def nodes(self) -> dict[str, str]:
        """Return the state of each node that the head knows, by hostname."""
        return {row["hostname"]: row["raylet"]["state"] for row in self._nodes()}

    def host_of(self, node_id: str) -> Host:
        """Return the host of a Ray node."""
        names = {row["raylet"]["nodeId"]: row["hostname"] for row in self._nodes()}
        return {host.name: host for host in (self.a, self.b)}[names[node_id]]

    def call(self, method: str, path: str) -> Any:
        """Make one call to the dashboard on host-a; None when it does not answer."""
        done = self.a.run(sys.executable, str(DASHBOARD), URL + path, method)
        return processes.parse_json(done)

    def submit(
        self,
        *args: str,
        script: str = "train.py",
        submission_id: str | None = None,
        env: Mapping[str, str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        gloo_interface: str | None = "eth0",
    ) -> Job:
        """Submit a script on host-a. Without an interface gloo finds only loopback, and fails."""
        name = submission_id or f"{Path(script).stem}-{next(self._ids)}"
        out = self.dir / "out" / name
        out.mkdir(parents=True)
        own = {"GLOO_SOCKET_IFNAME": gloo_interface} if gloo_interface else {}
        submission = Submission(
            *(name, out, (script, *args)),
            env={**own, **(env or {})},
            runtime_env={"py_executable": warm.py_executable(self.mark), **(runtime_env or {})},
        )
        submitted_at = time.time()
        checked(self.a.run(*submission.argv(URL), timeout=180))
        return Job(name, out, self.call, submitted_at=submitted_at)

    def inspect(
        self,
        command: str,
        *args: str,
        on: Host | None = None,
        timeout: float = 120.0,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed `dsray-inspect` inside a host, host-a by default."""
        argv = ("dsray-inspect", command, "--address", self.address, *args)
        return (on or self.a).run(*argv, timeout=timeout, env=env)

    def wait_until_there(self, class_name: str) -> None:
        """Wait until an actor of the class is known to the cluster."""
        processes.wait_for(f"a {class_name}", lambda: self._living(class_name))

    def wait_until_gone(self, class_name: str) -> None:
        """Wait until no actor of the class lives in the cluster."""
        processes.wait_for(f"all {class_name} to be gone", lambda: self._living(class_name) == [])

    def _living(self, class_name: str) -> list[str] | None:
        answer = self.call("GET", "/api/v0/actors?limit=10000")
        rows = answer["data"]["result"]["result"] if isinstance(answer, dict) else None
        return rows and [
            row["actor_id"]
            for row in rows
            if row["class_name"] == class_name and row["state"] != "DEAD"
        ]

    def cut(self) -> None:
        """Take the link down, as when a cable is pulled."""
        self.b.network("ip", "link", "set", "eth0", "down")

    def mend(self) -> None:
        """Bring the link up again."""
        self.b.network("ip", "link", "set", "eth0", "up")
