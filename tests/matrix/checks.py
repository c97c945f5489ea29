"""The commands of the scenario, each with what its answer must contain whatever the versions are."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.matrix.outcome import Said
from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job

CULPRIT = 1
LIMIT_S = 150.0
SECONDS = re.compile(r" in [\d.]+ s\b")
TRACE_S = 4
HANG_AGE_S = 45.0
"""By then a hang is old enough to be one, even where a rank's rhythm is not known."""
PROGRAM = (
    str(processes.BIN / "python"),
    "-c",
    "from dsray_inspect.agent.cli import main; main()",
)


class Cell(NamedTuple):
    """A cluster with a hung and a healthy job, and the folder that has dsray-inspect."""

    cluster: Cluster
    links: Path
    train: str
    hung: Job
    healthy: Job

    def inspect(self, command: str, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a command of dsray-inspect; whatever it says, it must not be a traceback."""
        done = self.cluster.run(*self.argv(command, *args), timeout=LIMIT_S, env=self.env)
        said = done.stdout + done.stderr
        assert "Traceback" not in said, last_line(said)
        assert "bug of dsray-inspect" not in said, first_error(said)
        return done

    def argv(self, command: str, *args: str) -> list[str]:
        return [*PROGRAM, command, "--address", self.cluster.address, *args]

    @property
    def env(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.links)}

    def document(self, command: str, *args: str, codes: tuple[int, ...] = (0, 1)) -> Any:
        done = self.inspect(command, *args, "--json")
        assert done.returncode in codes, f"exit {done.returncode}: {first_error(done.stderr)}"
        return json.loads(done.stdout)

    def text(self, command: str, *args: str, codes: tuple[int, ...] = (0,)) -> str:
        done = self.inspect(command, *args)
        assert done.returncode in codes, f"exit {done.returncode}: {first_error(done.stderr)}"
        return done.stdout


def first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("error")] or [last_line(text)]
    return lines[0]


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]


def check_ls(cell: Cell) -> None:
    runs = cell.document("ls")["runs"]
    states = {run["submission_id"]: run["state"] for run in runs}
    assert states == {"hung": "RUNNING", "healthy": "RUNNING"}, states

    if cell.train == "v2" and not all(run["run_id"] for run in runs):
        raise Said("run ids are shown as unknown")


def check_attach(cell: Cell) -> None:
    def judged() -> Any:
        snapshot = cell.document("attach", "hung")
        return snapshot if snapshot["verdict"]["state"] == "hung" else None

    snapshot = processes.wait_for("attach calls it hung", judged, timeout=HANG_AGE_S)
    verdict = snapshot["verdict"]
    told = (verdict["state"], verdict["cause"], verdict["ranks"])
    assert told == ("hung", "rank_blocked_in_user_code", [CULPRIT]), told
    workers = {worker["rank"]: worker for worker in snapshot["workers"]}
    assert workers[CULPRIT]["function"]["name"] == "load_batch", workers[CULPRIT]["function"]
    assert {rank: worker["pid"] for rank, worker in workers.items()} == cell.hung.pids()
    assert all(worker["node_id"] for worker in workers.values()), "a rank without its node"
    say_what_is_missing(workers, snapshot["notes"])


def check_attach_healthy(cell: Cell) -> None:
    snapshot = cell.document("attach", "healthy")
    assert snapshot["verdict"]["state"] == "healthy", snapshot["verdict"]["summary"]
    workers = {worker["rank"]: worker for worker in snapshot["workers"]}
    say_what_is_missing(workers, snapshot["notes"])


def say_what_is_missing(workers: dict[int, Any], notes: list[str]) -> None:
    """Fail where a rank lacks something without a word; raise `Said` where it says why."""
    gaps: dict[str, str] = {}

    for rank, worker in workers.items():
        evidence = worker["evidence"]
        said = " ".join([*notes, *(str(value) for value in evidence.values() if value != "ok")])

        for source in ("controller", "worker", "stack", "collectives"):
            if evidence.get(source) != "ok":
                gaps[source] = str(evidence.get(source))

        for name in ("step", "deepspeed"):
            if worker[name] is None:
                gaps[name] = why_without(evidence)

        assert worker["env"].get("WORLD_SIZE"), f"rank {rank} has no environment: {said}"

    silent = [name for name, why in gaps.items() if not why]
    assert not silent, f"missing without a reason: {', '.join(silent)}"

    if gaps:
        raise Said("; ".join(by_reason(gaps)))


def by_reason(gaps: dict[str, str]) -> Iterator[str]:
    """Yield each reason once, without how long it was waited for, and what is missing for it."""
    reasons = {name: SECONDS.sub("", why).partition(": ")[0] for name, why in gaps.items()}

    for reason in dict.fromkeys(reasons.values()):
        names = [name for name, why in reasons.items() if why == reason]
        yield f"no {', '.join(names)} ({reason})"


def why_without(evidence: dict[str, Any]) -> str:
    """Return what is said of a rank's own answer, "" where nothing is."""
    said = [evidence[name] for name in ("worker", "deepspeed") if evidence[name] != "ok"]
    return str(said[0]) if said else ""


def check_why(cell: Cell) -> None:
    document = cell.document("why", "hung")
    verdict = document["verdict"]
    told = (verdict["state"], verdict["cause"], verdict["ranks"])
    assert told == ("hung", "rank_blocked_in_user_code", [CULPRIT]), told
    assert "load_batch" in json.dumps(document), "without the function it is blocked in"


def check_stacks(cell: Cell) -> None:
    text = cell.text("stacks", "hung", codes=(0, 1))
    assert "load_batch" in text, text
    assert "all_reduce" in text, text


def check_env(cell: Cell) -> None:
    document = cell.document("env", "healthy")
    owners = {"USER_SETTING": "user_code", "MASTER_ADDR": "ray_train", "RAY_JOB_ID": "ray"}
    found = json.dumps(document)
    assert all(name in found for name in owners), [name for name in owners if name not in found]
    snapshot = cell.document("attach", "healthy")

    for name, owner in owners.items():
        source = snapshot["workers"][0]["env"][name]["source"]
        assert source == owner, f"{name} is said to come from {source}"


def check_trace(cell: Cell) -> None:
    before = len(cell.healthy.steps(0))
    done = cell.inspect("trace", "healthy", "--json", "--seconds", str(TRACE_S))
    after = len(cell.healthy.steps(0))

    document = traced(done)
    steps = [span for span in document["timeline"]["spans"] if span["kind"] == "step"]
    of_one = [span for span in steps if span["process"] == steps[0]["process"]]
    assert 5 <= len(of_one) <= after - before + 1, f"{len(of_one)} steps of {after - before}"


def traced(done: subprocess.CompletedProcess[str]) -> Any:
    """Return a trace; raise `Said` where the ranks cannot be traced, and that is said."""
    if done.returncode == 4 and "No rank could be traced" in done.stderr:
        raise Said(SECONDS.sub("", first_error(done.stderr).removeprefix("error: ")))

    assert done.returncode == 0, first_error(done.stderr)
    return json.loads(done.stdout)


def check_past(cell: Cell) -> None:
    document = traced(cell.inspect("trace", "healthy", "--past", "--json"))
    ranks = {p["rank"] for p in document["timeline"]["processes"] if p["rank"] is not None}
    steps = [span for span in document["timeline"]["spans"] if span["kind"] == "step"]
    assert ranks == {0, 1}, ranks
    assert steps, "no step was reconstructed"


def check_doctor(cell: Cell) -> None:
    document = cell.document("doctor", codes=(0,))
    cluster = document["cluster"]
    assert cluster["ray"] == cluster["our_ray"], cluster
    assert document["nodes"][0]["rungs"]["in_process"]["state"] == "ok", document["nodes"][0]


def check_submit(cell: Cell) -> None:
    out = cell.cluster.dir / "out" / "recorded"
    out.mkdir(parents=True, exist_ok=True)
    runtime_env = {"env_vars": {"RAY_TRAIN_V2_ENABLED": "1" if cell.train == "v2" else "0"}}
    job = Job("recorded", out, cell.cluster.call, submitted_at=0.0)
    # Its options are `ray job submit`'s, so it takes no GCS address.
    done = cell.cluster.run(
        *(
            *PROGRAM,
            "submit",
            "--no-wait",
            "--address",
            cell.cluster.url,
            "--submission-id",
            "recorded",
        ),
        *("--runtime-env-json", json.dumps(runtime_env), "--", "python"),
        *(str(processes.ROOT / "tests/jobs/train.py"), "--out", str(out)),
        timeout=LIMIT_S,
        env=cell.env,
    )
    assert done.returncode == 0, first_error(done.stderr)

    try:
        job.wait_until_step(0, 1)
        job.wait_until_step(1, 1)
        snapshot = cell.document("attach", "recorded")
    finally:
        job.stop()

    reasons = {worker["evidence"]["init"] for worker in snapshot["workers"]} - {"ok"}

    if reasons:
        raise Said(f"no recorded start ({SECONDS.sub('', reasons.pop()).partition(': ')[0]})")

    assert snapshot["startup"]["until"] == "first_step", snapshot["startup"]


def check_record(cell: Cell) -> None:
    path = cell.cluster.dir / "hung.dsray"
    cell.text("record", "hung", "-o", str(path), codes=(0, 1))
    done = cell.cluster.run(
        *PROGRAM, "why", "--from", str(path), "--json", timeout=LIMIT_S, env=cell.env
    )
    assert done.returncode == 1, first_error(done.stderr)
    verdict = json.loads(done.stdout)["verdict"]
    assert (verdict["state"], verdict["ranks"]) == ("hung", [CULPRIT]), verdict["summary"]


def check_serve(cell: Cell) -> None:
    folder = cell.cluster.dir / "served"
    folder.mkdir(exist_ok=True)
    targets = folder / "targets.json"
    argv = cell.argv("serve", "hung", "--listen", "127.0.0.1:0", "--every", "1")

    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [*argv, "--sd-file", str(targets)],
            env=cell.cluster.env | cell.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )

    def scraped() -> str:
        assert process.poll() is None, first_error((folder / "stderr").read_text())

        if not targets.exists():
            return ""

        (group,) = json.loads(targets.read_text())
        url = f"http://{group['targets'][0]}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text: str = answer.read().decode()
        return text if "dsray_rank_info{" in text and 'state="hung"' in text else ""

    try:
        processes.wait_for("its series of a hung run", scraped, timeout=90, every=1.0)
    finally:
        process.kill()
        process.wait()


CHECKS: dict[str, Callable[[Cell], None]] = {
    "ls": check_ls,
    "attach": check_attach,
    "attach, healthy": check_attach_healthy,
    "why": check_why,
    "stacks": check_stacks,
    "env": check_env,
    "trace": check_trace,
    "trace --past": check_past,
    "doctor": check_doctor,
    "record": check_record,
    "serve": check_serve,
    "submit": check_submit,
}
