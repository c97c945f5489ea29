"""The outputs that the manual shows, each from a recording and by what renders it for users.

What was not recorded is put together by the builders of the unit tests.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from dsray_inspect.agent.commands.dashboards import PROMETHEUS, RAY_TARGETS
from dsray_inspect.agent.commands.stacks import only_ranks
from dsray_inspect.agent.diff.compare import compare
from dsray_inspect.agent.diff.side import Side
from dsray_inspect.agent.doctor.snippets import KUBERAY_PTRACE, kuberay_sidecar
from dsray_inspect.agent.documents import RecordDocument, RunList, RunRow
from dsray_inspect.agent.explain import explain
from dsray_inspect.agent.launch.plan import LauncherName
from dsray_inspect.agent.launch.planner import plan_of
from dsray_inspect.agent.mcp.answers.why import why_answer
from dsray_inspect.agent.mcp.sample import Sample
from dsray_inspect.agent.mcp.tools import SPECS
from dsray_inspect.agent.model import (
    Local,
    Log,
    LogFile,
    Snapshot,
    StackGroup,
    Verdict,
)
from dsray_inspect.agent.stacks.merge import Entry, group
from dsray_inspect.agent.stacks.pyspy import labelled_threads
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.text.diff import diff_text
from dsray_inspect.agent.text.doctor import diagnosis_text
from dsray_inspect.agent.text.env import env_text
from dsray_inspect.agent.text.graph import graph_text
from dsray_inspect.agent.text.launch import launch_text
from dsray_inspect.agent.text.logs import logs_text
from dsray_inspect.agent.text.record import record_text
from dsray_inspect.agent.text.report import report
from dsray_inspect.agent.text.runs import runs_text
from dsray_inspect.agent.text.stacks import stacks_text
from dsray_inspect.agent.text.trace import trace_text
from dsray_inspect.agent.text.verdict_change import verdict_line
from dsray_inspect.agent.text.why import why_text
from dsray_inspect.agent.timeline import Timeline
from dsray_inspect.agent.tracing.summarize import summarize
from dsray_inspect.dashboards.files import Locations, all_files
from tests.docs.pages import ROOT

GOLDEN: Final = ROOT / "tests" / "golden"
BETWEEN_S: Final = 0.9
FOREIGN_VARIABLES: Final = "environment variables: not of Ray, DeepSpeed, torch or NCCL"
REST: Final = "…"
Role: TypeAlias = Literal["worker", "child"]
LogStream: TypeAlias = Literal["stdout", "stderr", "train"]


@cache
def snapshot(name: str) -> Snapshot:
    path = GOLDEN / "snapshots" / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=Snapshot)


def with_workers(name: str, **changes: Any) -> Snapshot:
    """Return a recorded snapshot with some fields of all workers replaced."""
    recorded = snapshot(name)
    workers = tuple(msgspec.structs.replace(worker, **changes) for worker in recorded.workers)
    return msgspec.structs.replace(recorded, workers=workers)


def why(name: str) -> str:
    """Return what `why` prints when two samples in a row say the same."""
    newest = snapshot(name)
    before = msgspec.structs.replace(newest, taken_at=newest.taken_at - BETWEEN_S)
    return why_text(explain((before, newest)))


def why_failed() -> str:
    from tests.unit.endings import ACCOUNT, ended, post_mortem

    aborted = post_mortem(
        ACCOUNT,
        exits={"w0": ended(0, "SYSTEM_ERROR", 5.0)},
        words=["what(): 44 vs 8. Received data size doesn't match expected size."],
    )
    return why_text(explain((aborted,))).split("\n")[0]


def why_graph() -> str:
    from tests.unit.samples import IN_USER, stands, twice, waits

    return graph_text(explain((twice(waits(0), stands(1, IN_USER), waits(2)),)).graph)


def start_up(*, recorded: bool) -> str:
    from tests.unit.test_startup import kept, lines_of

    return "\n".join(lines_of(kept("submitted"), recorded=recorded))


def stacks_with_locals() -> str:
    """Return the culprit's part of the tree, with local variables."""
    options = (
        '{"out": "/tmp/out", "workers": 3, "cpus": 0.1, "gpus": 1, "zero": 2, "steps": 1000000}'
    )
    found = (
        Local(name="rank", value="1"),
        Local(name="step", value="20"),
        Local(name="options", value=options),
    )
    hung = only_ranks(snapshot("hung"), (1,))
    groups = tuple(
        msgspec.structs.replace(
            stack,
            frames=tuple(
                msgspec.structs.replace(frame, locals=found)
                if frame.name == "load_batch"
                else frame
                for frame in stack.frames
            ),
        )
        for stack in hung.stacks.groups
    )
    lines = _tree(hung, groups).split("\n")
    return "\n".join([REST, *lines[_line_of(lines, "load_batch") :]])


def stacks_of_loaders() -> str:
    """Return a rank that waits for a DataLoader worker, and that worker."""
    scenes: tuple[tuple[Role, str], ...] = (("worker", "loader-waits"), ("child", "loader-child"))
    table = StackTable()
    entries = [
        Entry(0, role, thread.pid, thread)
        for role, scene in scenes
        for thread in labelled_threads((GOLDEN / "pyspy" / f"{scene}.json").read_bytes(), table)
        if thread.name.startswith("TrainingThread")
    ]
    lines = _tree(snapshot("hung"), group(entries)).split("\n")
    return "\n".join([REST, *lines[_line_of(lines, "rank 0") :]])


def _tree(recorded: Snapshot, groups: tuple[StackGroup, ...]) -> str:
    stacks = msgspec.structs.replace(recorded.stacks, groups=groups)
    return stacks_text(msgspec.structs.replace(recorded, stacks=stacks))


def _line_of(lines: list[str], text: str) -> int:
    return next(number for number, line in enumerate(lines) if text in line)


def logs() -> str:
    lines = tuple(f"rank 1 begins step {step}, password=<redacted>" for step in (19, 20))
    logged = tuple(f"2026-11-25 23:05:11,926 INFO {line}" for line in lines)
    folder, worker = "/tmp/ray/session_…/logs", "worker-428f9eaa…-02000000-13504"

    def file(stream: LogStream, path: str, shown: tuple[str, ...]) -> LogFile:
        path = f"{folder}/{path}"
        return LogFile(stream=stream, path=path, age_s=13.3, lines=shown, is_whole=False)

    files = (
        file("stdout", f"{worker}.out", lines),
        file("stderr", f"{worker}.err", lines),
        file("train", "train/ray-train-app-worker-428f9eaa….log", logged),
    )
    log = Log(hostname="vm", files=files)
    hung = only_ranks(snapshot("hung"), (1,))
    (worker_1,) = hung.workers
    workers = (msgspec.structs.replace(worker_1, log=log),)
    return f"{REST}\n{logs_text(msgspec.structs.replace(hung, workers=workers))}"


def env_unread() -> str:
    from tests.unit.node_checks import DENIED

    hung = with_workers("hung", env={}, rank=None)
    workers = tuple(
        msgspec.structs.replace(
            worker, evidence=msgspec.structs.replace(worker.evidence, env=DENIED)
        )
        for worker in hung.workers
    )
    return env_text(msgspec.structs.replace(hung, workers=workers))


def env_ended() -> str:
    ended = with_workers("hung", state="dead", env={})
    job = msgspec.structs.replace(ended.job, state="FINISHED")
    return env_text(msgspec.structs.replace(ended, job=job))


def launch(launcher: LauncherName) -> str:
    from tests.unit import launch_jobs

    return launch_text(plan_of(launch_jobs.ray_train(), snapshot("hung"), launcher, port=29500))


def launch_part(launcher: LauncherName, title: str) -> str:
    """Return one section of a plan, between two marks for what is left out."""
    parts = launch(launcher).split("\n\n")
    return f"{REST}\n{next(part for part in parts if part.startswith(title))}\n{REST}"


def run_row() -> RunRow:
    hung = snapshot("hung")
    assert hung.run is not None
    return RunRow(
        submission_id=hung.job.submission_id,
        job_id=hung.job.job_id,
        run_id=hung.run.id,
        run_name=hung.run.name,
        state=hung.run.state,
        ranks=len(hung.workers),
        nodes=len(hung.nodes),
        entrypoint=hung.job.entrypoint,
    )


def ls() -> str:
    return runs_text([run_row()])


def record(*, public: bool = False) -> str:
    """Return what `record` prints of the hung run; of a public file, with another name for its own."""
    verdict = snapshot("hung").verdict

    if public:
        summary = verdict.summary.replace("load_batch (train.py:", "function-2 (file-1.py:")
        verdict = msgspec.structs.replace(verdict, summary=summary)

    left_out = ["native frames and local variables: reading them pauses a rank"]
    left_out += ["log files and command lines: they can hold anything"] if public else []
    left_out += [f"47 {FOREIGN_VARIABLES}"] if public else []
    return record_text(
        RecordDocument(
            file="issue.dsray" if public else "hang.dsray",
            bytes=71_000 if public else 118_000,
            public=public,
            job="j47",
            ranks=3,
            samples=8,
            seconds=4.9,
            verdict=verdict,
            left_out=tuple(left_out),
            redacted=() if public else ("HF_TOKEN (ranks: 3)",),
            replaced=("9 actors", "1 address", "5 classes", "1 file", "3 functions", "1 host")
            if public
            else (),
            ended_early=None,
        )
    )


def mcp_why() -> str:
    """Return the first half of what the tool `why` answers of the hung run."""
    hung = snapshot("hung")
    before = msgspec.structs.replace(hung, taken_at=hung.taken_at - BETWEEN_S)
    sample = Sample(id="s1.3", source="live", explanation=explain((before, hung)))
    answer = why_answer(sample, SPECS["why"].tokens, hung.taken_at + 0.4)
    shown = ("notice", "sample", "verdict", "means", "does_not_prove", "next", "culprits")
    document = {name: value for name, value in msgspec.to_builtins(answer).items() if name in shown}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def diff(*, is_quiet: bool = False) -> str:
    """Return what `diff` prints of the hung run and of one the night before that was well."""
    from tests.unit.snapshots import at_step, restarted, with_env, with_setting

    hung = snapshot("hung")
    verdict = Verdict(state="healthy", cause=None, ranks=(), summary="3 ranks at step 412.")
    job = msgspec.structs.replace(hung.job, submission_id="j45", job_id="21000000")
    before = with_env(restarted(at_step(hung, -86400.0, 412), 0.0), "MASTER_PORT", "41233")
    before = with_env(before, "RAY_JOB_ID", "21000000")
    good = msgspec.structs.replace(before, verdict=verdict, findings=(), job=job)
    other = hung

    if is_quiet:
        job = msgspec.structs.replace(job, submission_id="j46", job_id="22000000")
        again = with_env(restarted(good, 3600.0, step=97), "MASTER_PORT", "35111")
        other = msgspec.structs.replace(with_env(again, "RAY_JOB_ID", "22000000"), job=job)
    else:
        good = with_env(with_setting(good, "gradient_clipping", "0.5"), "NCCL_SOCKET_IFNAME", None)

    names = ("j45", "j46") if is_quiet else ("good.dsray", "hang.dsray")
    sides = [
        Side(name=name, snapshots=(snapshot,), is_file=not is_quiet)
        for name, snapshot in zip(names, (good, other), strict=True)
    ]
    return diff_text(compare(*sides))


def ls_json() -> str:
    return msgspec.json.encode(RunList(runs=(run_row(),))).decode()


def trace(name: str, *, past: bool, after_s: float = 0.0) -> str:
    recorded = (GOLDEN / "timelines" / f"{name}.json").read_bytes()
    timeline = msgspec.json.decode(recorded, type=Timeline)
    summary = summarize(timeline)
    now_ns = summary.until_ns + round(after_s * 1e9)
    return trace_text(summary, timeline.notes, past=past, now_ns=now_ns)


def verdicts() -> str:
    """Return what `serve` prints of a run that hangs and is stopped."""
    hung = snapshot("hung")
    ended = msgspec.structs.replace(
        hung,
        taken_at=hung.taken_at + 240,
        findings=(),
        verdict=Verdict(state="finished", cause=None, ranks=(), summary="The job has ended."),
    )
    return "\n".join(verdict_line(one) for one in (hung, ended))


def doctor(*, is_allowed: bool) -> str:
    from tests.unit.node_checks import denied, diagnosis, facts, node, process

    pod = {"container": "kubernetes", "root_read_only": True}
    me = process(1, uid=1000, cap_bounding=0, no_new_privs=True, seccomp=2)

    if is_allowed:
        return diagnosis_text(diagnosis(node(facts(me=me, **pod))))

    return diagnosis_text(diagnosis(node(denied(me=me, yama=1, **pod))))


def dashboards() -> str:
    place = Locations(
        folder=Path("/home/me/monitoring"),
        prometheus_url=PROMETHEUS,
        ray_targets=RAY_TARGETS,
        runbooks=None,
    )
    return "\n".join(f"monitoring/{path}" for path in sorted(all_files(place)))


EXAMPLES: Final[dict[str, Callable[[], str]]] = {
    "attach hung": lambda: report(snapshot("hung")),
    "attach healthy": lambda: report(snapshot("healthy")),
    "attach pending": lambda: report(snapshot("pending")),
    "attach stopped": lambda: report(snapshot("stopped")),
    "start-up plain": lambda: start_up(recorded=False),
    "start-up submitted": lambda: start_up(recorded=True),
    "why hung": lambda: why("hung"),
    "why healthy": lambda: why("healthy"),
    "why failed": why_failed,
    "why graph": why_graph,
    "stacks hung": lambda: stacks_text(snapshot("hung")),
    "stacks locals": stacks_with_locals,
    "stacks all-threads": stacks_of_loaders,
    "stacks log": logs,
    "env hung": lambda: env_text(snapshot("hung")),
    "env unread": env_unread,
    "env pending": lambda: env_text(snapshot("pending")),
    "env ended": env_ended,
    "record hung": record,
    "record public": lambda: record(public=True),
    "launch torchrun": lambda: launch("torchrun"),
    "launch mpirun": lambda: launch_part("mpirun", "command"),
    "launch trainjob": lambda: launch_part("trainjob", "trainjob.yaml"),
    "mcp why": mcp_why,
    "diff": diff,
    "diff quiet": lambda: diff(is_quiet=True),
    "ls": ls,
    "ls json": ls_json,
    "trace": lambda: trace("running", past=False),
    "trace past": lambda: trace("past", past=True, after_s=12),
    "serve": verdicts,
    "doctor": lambda: doctor(is_allowed=True),
    "doctor under Yama": lambda: doctor(is_allowed=False),
    "dashboards": dashboards,
    "KubeRay SYS_PTRACE": lambda: KUBERAY_PTRACE,
    "KubeRay sidecar": lambda: kuberay_sidecar(1000),
}


def rendered() -> dict[str, str]:
    return {name: render() for name, render in EXAMPLES.items()}
