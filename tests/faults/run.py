"""Run one case: start its job, wait for the fault, ask the tool, and score what it says."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tests.faults.catalog import WORKERS, Case
from tests.faults.tools import Answer, Target, Tool
from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job

BREAK_LIMIT_S = 420.0
FOLLOW_S = 45.0
HEALTHY_S = 16.0
ALARMS = ("hung", "failed")
NO_CLAIM = (None, "unknown")


@dataclass(frozen=True)
class Score:
    """What a tool said of one case."""

    tool: str
    case: str
    expected: tuple[str, ...]
    state: str
    cause: str | None
    ranks: tuple[int, ...]
    cause_is_right: bool
    culprit_is_right: bool | None
    """None where there is none to be scored."""
    seconds: float | None
    """From the fault to the first right answer; None when it never came, or none was watched for."""
    look_s: float
    """What the scored look took."""
    looked_at: float
    """When it had its answer, Unix seconds."""
    wrong_on_the_way: tuple[str, ...]
    """What else the tool claimed while it watched."""
    text: str = ""
    error: str = ""

    @property
    def is_right(self) -> bool:
        return self.cause_is_right and self.culprit_is_right is not False

    @property
    def is_false_alarm(self) -> bool:
        """Whether a healthy job was said to be ill, then or later."""
        ill = self.state in ALARMS or self.cause not in NO_CLAIM
        return not self.expected and (ill or bool(self.wrong_on_the_way))


def run(cluster: Cluster, case: Case, tools: Mapping[str, Tool], seed: int) -> list[Score]:
    """Run a case from beginning to end; return what each tool, by its name, said of it.

    The first one watches the job from its fault and then looks; the others look after it.
    """
    with started(cluster, case, seed) as (job, rank):
        broke_at = wait_for_fault(job)
        target = Target(cluster, job)
        seconds, wrong = watch(target, case, next(iter(tools.values())), rank, broke_at)
        time.sleep(max(0.0, broke_at + case.settle_s - time.time()) if case.causes else 0.0)
        scores = [look(target, case, name, tool, rank) for name, tool in tools.items()]

    first = scores[0]

    if seconds is None and case.causes and first.is_right:
        seconds = first.looked_at - broke_at

    return [replace(first, seconds=seconds, wrong_on_the_way=wrong), *scores[1:]]


def look(target: Target, case: Case, name: str, tool: Tool, rank: int) -> Score:
    """Let a tool look once, from cold."""
    begun = time.monotonic()
    answer = tool.judge(target)
    return Score(
        tool=name,
        case=case.name,
        expected=case.causes,
        state=answer.state,
        cause=answer.cause,
        ranks=answer.ranks,
        cause_is_right=names_it(answer, case, tool),
        culprit_is_right=blames_it(answer, case, rank),
        seconds=None,
        look_s=time.monotonic() - begun,
        looked_at=answer.at,
        wrong_on_the_way=(),
        text=answer.text,
    )


@contextlib.contextmanager
def started(cluster: Cluster, case: Case, seed: int) -> Iterator[tuple[Job, int]]:
    """Start the job of a case; it is stopped at the end."""
    rank, step = case.place(seed)
    env = {}

    if case.fault in ("stale-lock", "cold-compile"):
        env["TORCH_EXTENSIONS_DIR"] = str(cluster.dir / f"extensions-{case.fault}")

    job = cluster.submit(
        *("--fault", case.fault, "--rank", str(rank), "--step", str(step)),
        *("--workers", str(WORKERS), "--gpus", str(case.gpus)),
        script=f"../faults/jobs/{case.script}",
        env=env,
    )

    try:
        yield job, rank
    finally:
        with contextlib.suppress(processes.Unmet):
            job.stop()


def wait_for_fault(job: Job) -> float:
    """Return the Unix time at which the job broke, as it wrote it down itself."""
    path = job.out / "broke"

    def broke() -> float:
        text = path.read_text() if path.exists() else ""

        if not text and (ended := job.ended()):
            raise processes.Unmet(f"{job} ended before it broke: {ended}")

        return float(text or 0)

    return processes.wait_for(f"{job} to break", broke, timeout=BREAK_LIMIT_S, every=0.2)


def watch(
    target: Target, case: Case, tool: Tool, rank: int, broke_at: float
) -> tuple[float | None, tuple[str, ...]]:
    """Follow until the first right answer; return its time and the claims that were wrong."""
    wrong: list[str] = []
    limit_s = max(FOLLOW_S, case.settle_s) if case.causes else HEALTHY_S

    for answer in tool.follow(target, time.time() + limit_s):
        if case.causes and is_right(answer, case, rank, tool):
            return answer.at - broke_at, tuple(wrong)

        claims = answer.cause not in NO_CLAIM or answer.state in ALARMS
        claim = f"{answer.state}:{answer.cause}:{','.join(map(str, answer.ranks))}"

        if claims and answer.cause not in case.causes and claim not in wrong:
            wrong.append(claim)

    return None, tuple(wrong)


def is_right(answer: Answer, case: Case, rank: int, tool: Tool) -> bool:
    return names_it(answer, case, tool) and blames_it(answer, case, rank) is not False


def names_it(answer: Answer, case: Case, tool: Tool) -> bool:
    """Tell whether the cause is right; of a tool that names none, whether it sees that it hangs."""
    if not case.causes:
        return answer.cause in NO_CLAIM and answer.state not in ALARMS

    return answer.cause in case.causes if tool.names_causes else answer.state in ALARMS


def blames_it(answer: Answer, case: Case, rank: int) -> bool | None:
    blamed = case.blamed(rank) if case.causes else None
    return None if blamed is None else answer.ranks == blamed
