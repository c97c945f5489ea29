"""How the way from answers to the verdict grows with the number of ranks, emulated.

The answers are those of a hung ZeRO-2 job as a rank gives them, pickled as they come over the
wire: decode, label, merge, graph and verdict are the real code. One rank of them all is asleep.
Each sample is from a process of its own, as each `why` is one.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

from dsray_inspect.agent.assemble.snapshot import AnalysisInput, assemble
from dsray_inspect.agent.gc_pause import without_collector
from dsray_inspect.agent.handles import NodeHandle, ProcessHandle, RunHandle
from dsray_inspect.agent.remote.flight_recorder import ARRIVALS
from dsray_inspect.agent.remote.threads import packed
from dsray_inspect.agent.sampling.decode import rank_report
from dsray_inspect.agent.sampling.observation import Observation, SampleRequest
from dsray_inspect.agent.sampling.rank_report import RankReport
from dsray_inspect.agent.sampling.session_cache import SessionCache
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.unavailable import Unavailable
from dsray_inspect.agent.verdict import judge
from tests.bench.results import Result
from tests.unit.samples import job

SITE = "/venv/lib/python3.11/site-packages"
RAY = f"{SITE}/ray/train/v2/_internal"
ENGINE = f"{SITE}/deepspeed/runtime/engine.py"
ZERO = f"{SITE}/deepspeed/runtime/zero/stage_1_and_2.py"
LIMIT_S = 3.0
SIZES = (1_000, 10_000, 100_000)
PER_NODE = 8
STARTED_NS, STEP_NS = 10**18, 500_000_000
ASLEEP = 17
RUNNER = [
    ("_bootstrap", "/usr/lib/python3.11/threading.py", 1002),
    ("_bootstrap_inner", "/usr/lib/python3.11/threading.py", 1045),
    ("run", "/usr/lib/python3.11/threading.py", 982),
    ("_run_target", f"{RAY}/execution/worker_group/thread_runner.py", 37),
    ("train_fn_with_final_checkpoint_flush", f"{RAY}/execution/worker_group/worker.py", 220),
    ("train_fn", f"{RAY}/util.py", 140),
    ("teach", "/app/train.py", 146),
]
REDUCE = [
    *RUNNER,
    ("backward", ENGINE, 3431),
    ("_backward_epilogue", ENGINE, 3300),
    ("allreduce_gradients", ENGINE, 3092),
    ("reduce_gradients", ZERO, 978),
    ("overlapping_partition_gradients_reduce_epilogue", ZERO, 1212),
    ("independent_gradient_partition_epilogue", ZERO, 1018),
    ("reduce_ipg_grads", ZERO, 2229),
    ("average_tensor", ZERO, 1708),
    ("allreduce_and_scatter", ZERO, 1582),
    ("allreduce_bucket", ZERO, 2384),
    ("all_reduce", f"{SITE}/deepspeed/comm/comm.py", 129),
    ("all_reduce", f"{SITE}/torch/distributed/distributed_c10d.py", 3252),
]
IN_USER = [*RUNNER, ("load_batch", "/app/train.py", 81)]
MAIN = [
    ("<module>", f"{SITE}/ray/_private/workers/default_worker.py", 320),
    ("main_loop", f"{SITE}/ray/_private/worker.py", 1010),
]


def thread(name: str, tid: int, frames: list[tuple[str, str, int]], idle_s: float) -> Any:
    named = [(code, code, file, line) for code, file, line in frames]
    return {"name": name, "tid": tid, "frames": packed(named), "idle_s": idle_s, "ran_s": 12.0}


def arrivals(rank: int) -> list[tuple[int, int]]:
    """Return when a rank came to as many collectives as a recorder tells of, a step apart."""
    late_ns = rank * 7919 % 1000 * 1000
    return [(4 + step, STARTED_NS + step * STEP_NS + late_ns) for step in range(ARRIVALS)]


def answer(rank: int, size: int, *, with_arrivals: bool = False) -> bytes:
    """Return what one rank gives, pickled."""
    asleep = rank == ASLEEP
    collective = {
        "group": "1",
        "sequence": 68 if asleep else 69,
        "operation": "all_reduce",
        "sizes": [[33030]],
        "dtype": "float",
        "age_s": 60.1 if asleep else 60.0,
        "finished": asleep,
        "timeout_s": 1800.0,
    }
    frames = IN_USER if asleep else REDUCE
    return pickle.dumps(
        {
            "pid": 1000 + rank,
            "threads": [
                thread("MainThread", 1000 + rank, MAIN, 0.5),
                thread("TrainingThread(teach)", 200_000 + rank, frames, 60.0),
            ],
            "identity": {"RANK": str(rank), "WORLD_SIZE": str(size)},
            "roots": {"ray": f"{SITE}/ray", "torch": f"{SITE}/torch", "deepspeed": None},
            "step": 20,
            "counters": {"cpu_s": 30.0, "moved_bytes": 1 << 20, "children": [], "dials": []},
            "collectives": [collective],
            "group_ranks": {"1": {"first": 0, "end": size, "stride": 1}},
            "longest_gap_s": 0.05,
            "arrivals": {"1": arrivals(rank)} if with_arrivals else {},
            "deepspeed": {"reason": "failed", "detail": "known"},
        }
    )


def report_of(
    cache: SessionCache, stacks: StackTable, actor_id: str, raw: bytes
) -> RankReport | Unavailable:
    report = rank_report(pickle.loads(raw), stacks)
    return cache.completed(actor_id, report) if isinstance(report, RankReport) else report


@without_collector
def reports_of(
    cache: SessionCache, stacks: StackTable, raw: list[bytes], rows: tuple[ProcessHandle, ...]
) -> dict[str, RankReport | Unavailable]:
    return {
        row.actor_id: report_of(cache, stacks, row.actor_id, answer)
        for row, answer in zip(rows, raw, strict=True)
    }


def facts_of(
    cache: SessionCache,
    stacks: StackTable,
    raw: list[bytes],
    rows: tuple[ProcessHandle, ...],
    nodes: list[NodeHandle],
    earlier: AnalysisInput | None = None,
) -> AnalysisInput:
    observation = Observation(
        job=job(driver_node_id="n0"),
        actors=RunHandle(generation="v2", controller=None, workers=rows),
        nodes=nodes,
        stacks=stacks,
        request=SampleRequest(max_pause_ms=100),
        ranks=reports_of(cache, stacks, raw, rows),
        taken_at=101.0 if earlier else 100.0,
    )
    return assemble(observation, earlier=earlier)


def actor_rows(size: int) -> tuple[ProcessHandle, ...]:
    return tuple(
        ProcessHandle(
            actor_id=f"a{rank}",
            job_id="02000000",
            class_name="RayTrainWorker",
            module="ray.train.v2.x",
            state="ALIVE",
            pid=1000 + rank,
            node_id=f"n{rank // PER_NODE}",
            node_ip=f"10.{rank >> 19 & 255}.{rank >> 11 & 255}.{rank >> 3 & 255}",
            worker_id=f"w{rank}",
            owner_worker_id="wc",
            placement_group_id="pg",
            gpu_slots=(rank % PER_NODE,),
            gpu_share=1.0,
            runtime_env_vars={},
            started_at=2.0,
            death_cause="",
            raw=b"",
        )
        for rank in range(size)
    )


class Measured(NamedTuple):
    merge_s: float
    """From bytes to facts."""
    judge_s: float
    """From facts to the verdict."""
    cpu_s: float
    """Of both."""
    second_s: float
    """All of it for a second look, which is judged by what moved since the first."""


def measure(size: int, *, with_arrivals: bool = False) -> Measured:
    raw = [answer(rank, size, with_arrivals=with_arrivals) for rank in range(size)]
    rows = actor_rows(size)
    nodes = [
        NodeHandle(node_id=f"n{n}", ip="10.0.0.1", hostname=f"h{n}", alive=True, resources={})
        for n in range((size + PER_NODE - 1) // PER_NODE)
    ]
    cache, stacks = SessionCache(), StackTable()
    cpu_s = time.process_time()
    started = time.perf_counter()
    facts = facts_of(cache, stacks, raw, rows, nodes)
    merged = time.perf_counter()
    snapshot = judge(facts)
    ended = time.perf_counter()
    cpu_s = time.process_time() - cpu_s
    again = judge(facts_of(cache, stacks, raw, rows, nodes, earlier=facts))
    second_s = time.perf_counter() - ended
    assert again.verdict.ranks == snapshot.verdict.ranks == (ASLEEP,), again.verdict
    return Measured(merged - started, ended - merged, cpu_s, second_s)


def in_a_process(work: Callable[[int], Measured], size: int) -> Measured:
    """Do the work in a new process: the heap of a long-lived one is scattered."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, size).result()


def emulated_ranks(repeats: int) -> list[Result]:
    """Return how long each size takes, against the limit and against a tenth of it."""
    results = []
    smaller: list[float] = []

    for size in SIZES:
        samples, notes = [], []

        for _ in range(repeats if size < SIZES[-1] else min(repeats, 3)):
            found = in_a_process(measure, size)
            samples.append((found.merge_s + found.judge_s) * 1000)
            notes = [
                (
                    f"merge {found.merge_s:.2f} s, findings, graph and verdict "
                    f"{found.judge_s:.2f} s; {found.cpu_s:.2f} s of CPU time"
                ),
                f"a second look, with what moved since the first: {found.second_s:.2f} s",
            ]

        told = in_a_process(partial(measure, with_arrivals=True), size)
        notes.append(
            f"with {ARRIVALS} arrivals a rank, by which stragglers are found: "
            f"{told.merge_s + told.judge_s:.2f} s; {told.cpu_s:.2f} s of CPU time"
        )

        if smaller:
            growth = sorted(samples)[len(samples) // 2] / sorted(smaller)[len(smaller) // 2]
            notes.append(f"ten times the ranks take {growth:.1f} times as long")

        results.append(
            Result(
                name=f"{size:,} emulated ranks",
                ours="from answers to the verdict",
                theirs="the limit for 100,000 ranks, by size",
                unit="ms",
                our_samples=samples,
                their_samples=[LIMIT_S * 1000 * max(size, 10_000) / SIZES[-1]],
                limit=1.0,
                notes=notes,
            )
        )
        smaller = samples

    return results
