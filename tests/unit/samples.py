"""Samples of runs that never existed, put together one fact at a time."""

from __future__ import annotations

from typing import Any

import msgspec

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.handles import (
    JobHandle,
    NodeHandle,
    ProcessHandle,
    RunHandle,
)
from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.remote.threads import packed
from dsray_inspect.agent.sampling.decode import node_report, rank_report
from dsray_inspect.agent.sampling.node_report import NodeReport
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.rank_report import ControllerReport, RankReport
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.unavailable import Unavailable
from dsray_inspect.agent.verdict import judge

SITE = "/venv/site-packages"
RUNNER = (
    "_run_target",
    "_run_target",
    f"{SITE}/ray/train/v2/_internal/execution/worker_group/thread_runner.py",
    37,
)
TEACH = ("teach", "teach", "/app/train.py", 10)
LOAD = ("load_batch", "load_batch", "/app/train.py", 20)
FETCH = ("__next__", "_BaseDataLoaderIter.__next__", f"{SITE}/torch/utils/data/dataloader.py", 700)
REDUCE = ("all_reduce", "all_reduce", f"{SITE}/torch/distributed/distributed_c10d.py", 3000)

IN_USER = (RUNNER, TEACH, LOAD)
IN_DATA = (RUNNER, TEACH, FETCH)
IN_REDUCE = (RUNNER, TEACH, REDUCE)
GET = ("get", "get", f"{SITE}/ray/_private/worker.py", 3009)
REPORT = ("report", "report", f"{SITE}/ray/train/v2/_internal/execution/context.py", 400)
SAVE = ("save", "save", f"{SITE}/torch/serialization.py", 900)
INIT = (
    "init_process_group",
    "init_process_group",
    f"{SITE}/torch/distributed/distributed_c10d.py",
    1700,
)
IN_GET = (RUNNER, TEACH, GET)
IN_REPORT = (RUNNER, TEACH, REPORT)
IN_SAVE = (RUNNER, TEACH, SAVE)

APART_S = 1.0
STILL: dict[str, Any] = {"cpu_s": 10.0, "moved_bytes": 100, "children": [], "dials": []}


def job(**more: Any) -> JobHandle:
    row = JobHandle(
        job_id="02000000",
        submission_id="j1",
        entrypoint="python train.py",
        namespace="x",
        driver_pid=10,
        driver_ip="10.0.0.1",
        driver_node_id="n1",
        is_dead=False,
        started_at=1.0,
        ended_at=None,
        runtime_env_vars={},
    )
    return msgspec.structs.replace(row, **more)


def actor(number: int, class_name: str = "RayTrainWorker", **more: Any) -> ProcessHandle:
    row = ProcessHandle(
        actor_id=f"a{number}",
        job_id="02000000",
        class_name=class_name,
        module="ray.train.v2.x",
        state="ALIVE",
        pid=100 + number,
        node_id="n1",
        node_ip="10.0.0.1",
        worker_id=f"w{number}",
        owner_worker_id="wc",
        placement_group_id="pg",
        gpu_slots=(number,),
        gpu_share=1.0,
        runtime_env_vars={},
        started_at=2.0,
        death_cause="",
        raw=b"",
    )
    return msgspec.structs.replace(row, **more)


def rank(number: int, frames: tuple[Any, ...], idle_s: float) -> dict[str, Any]:
    """Return what a rank answers."""
    thread = {"name": "TrainingThread(teach)", "tid": 7, "frames": packed(frames), "idle_s": idle_s}
    return {
        "pid": 100 + number,
        "threads": [thread],
        "identity": {"RANK": str(number), "WORLD_SIZE": "3"},
        "roots": {"ray": f"{SITE}/ray", "torch": f"{SITE}/torch", "deepspeed": None},
        "step": 7,
    }


def entered(answer: dict[str, Any], sequence: int, age_s: float, **more: Any) -> dict[str, Any]:
    """Return a rank's answer with what its flight recorder holds."""
    entry = {
        "group": "1",
        "sequence": sequence,
        "operation": "all_reduce",
        "sizes": [[33030]],
        "dtype": "float",
        "age_s": age_s,
        "finished": False,
        "timeout_s": 1800.0,
        **more,
    }
    others = answer.get("collectives", [])
    return {
        **answer,
        "collectives": [*others, entry],
        "group_ranks": {"1": [0, 1, 2]},
        "longest_gap_s": more.get("gap_s", 0.05),
    }


def in_group(answer: dict[str, Any], group: str, members: list[int]) -> dict[str, Any]:
    """Return a rank's answer with its collectives in another process group."""
    entries = [{**entry, "group": group} for entry in answer["collectives"]]
    return {**answer, "collectives": entries, "group_ranks": {group: members}}


def reported(answer: dict[str, Any] | str) -> RankReport | Unavailable:
    """Return a rank's answer decoded; a text is why its main thread did not answer in time."""
    if isinstance(answer, dict):
        return rank_report(answer, StackTable())

    return Unavailable(reason="timeout", detail=answer)


def node(told: dict[str, Any]) -> NodeReport:
    """Return what a node tells, decoded."""
    return node_report({"hostname": "h", "processes": {}, **told}, StackTable())


def sample_of(
    *ranks: dict[str, Any] | str, actors: dict[int, Any] | None = None, **more: Any
) -> AnalysisInput:
    """Return a sample of these ranks; `actors` changes rows by rank."""
    changes = actors or {}
    rows = tuple(actor(number, **changes.get(number, {})) for number in range(len(ranks)))
    controller = actor(9, "TrainController", worker_id="wc", owner_worker_id="wd")
    nodes = {node_id: node(told) for node_id, told in more.pop("node_answers", {}).items()}
    observation = Observation(
        job=more.pop("job", job()),
        actors=RunHandle(generation="v2", controller=controller, workers=rows),
        nodes=[NodeHandle(node_id="n1", ip="10.0.0.1", hostname="h", alive=True, resources={})],
        request=SampleRequest(max_pause_ms=100),
        controller=ControllerReport(state="RUNNING"),
        node_reports=nodes,
        ranks={row.actor_id: reported(answer) for row, answer in zip(rows, ranks, strict=True)},
        **more,
    )
    return assemble(observation)


def judged(*ranks: dict[str, Any] | str, **more: Any) -> Snapshot:
    return judge(sample_of(*ranks, **more))


def waits(number: int, age_s: float = 8, **more: Any) -> dict[str, Any]:
    """Return a rank that waits in collective 69."""
    return with_progress(entered(rank(number, IN_REDUCE, age_s), 69, age_s), **more)


def stands(number: int, frames: Any, age_s: float = 8, **more: Any) -> dict[str, Any]:
    """Return a rank that has come to collective 68 and to none since."""
    answer = entered(rank(number, frames, more.pop("idle_s", 0.1)), 68, age_s, finished=True)
    return with_progress(answer, **more)


def with_progress(answer: dict[str, Any], **more: Any) -> dict[str, Any]:
    times = {"ran_s": more.pop("ran_s", 5.0), "run_delay_s": more.pop("run_delay_s", 1.0)}
    thread = {**answer["threads"][0], **times}
    return {**answer, "threads": [thread], "counters": {**STILL, **more}}


def window(before: tuple[Any, ...], now: tuple[Any, ...], **more: Any) -> Snapshot:
    """Return what is judged of the second of two samples."""
    first, second = sample_of(*before, **more), sample_of(*now, **more)
    first.observation.taken_at, second.observation.taken_at = 100.0, 100.0 + APART_S
    earlier = assemble(first.observation)
    return judge(assemble(second.observation, earlier=earlier))


def twice(*ranks: Any, **more: Any) -> Snapshot:
    return window(ranks, ranks, **more)
