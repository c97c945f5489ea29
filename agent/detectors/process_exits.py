"""Ranks that have ended: which was first, and of what. All that follows from it is left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.train_log import Failure, failures
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.evidence.rank_index import in_state
from dsray_inspect.agent.detectors.findings import name_ranks, next_command, ranks
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.handles import ProcessExit
from dsray_inspect.agent.model import Cause, Finding
from dsray_inspect.agent.sampling.node_report import PostMortem

SECONDARY = re.compile(
    r"Connection (?:reset|closed) by peer|remote process exited|Broken pipe|NCCL.*remote"
    r"|Timed out waiting .*(?:recv|send)|A worker health check failed|DistStoreError"
    r"|ActorDiedError|WorkerCrashedError"
)
"""What a rank says of which another is the reason."""
BY_TEXT: tuple[tuple[re.Pattern[str], Cause], ...] = (
    (re.compile(r"data size doesn't match expected size"), "collective_mismatch"),
    (re.compile(r"connectFullMesh.*127\.0\.0\.1"), "network_unreachable"),
    (
        re.compile(r"DistNetworkError|No route to host|Network is unreachable"),
        "network_unreachable",
    ),
    (re.compile(r"clients joined|DistStoreError"), "rendezvous_wait"),
    (re.compile(r"out of memory|can't allocate memory|MemoryError"), "worker_oom"),
)
WORDS: dict[str, str] = {
    "collective_mismatch": "met a collective of another size than its own",
    "network_unreachable": "could not reach the others",
    "rendezvous_wait": "waited for the others in vain",
    "worker_oom": "ran out of memory",
}
OWN_ENDS = ("SYSTEM_ERROR", "USER_ERROR", "NODE_OUT_OF_MEMORY")
EXIT_CODE = re.compile(r"exit code (-?\d+)")
LOG_HEAD = re.compile(r"\A\[[^\]]*\] [\w.]+:\d+: ")
MOST_WORDS = 3


@detector(
    causes=(
        "worker_dead",
        "worker_oom",
        "node_lost",
        "collective_mismatch",
        "network_unreachable",
        "rendezvous_wait",
        "unknown",
    )
)
def worker_dead(facts: AnalysisInput) -> list[Finding]:
    """Blame who ended first by itself, else who failed of something that is not another's end."""
    job = facts.snapshot.job

    if job.has_ended and job.state != "FAILED":
        return []

    dead = in_state(facts, "dead")
    ended_nodes = {node.node_id for node in facts.observation.nodes if not node.alive}
    lost = [member for member in dead if member.worker.node_id in ended_nodes]

    if lost:
        return [node_lost(lost)]

    own = sorted(
        (end for member in dead if (end := own_end(facts, member)) is not None),
        key=lambda end: end[1].ended_at or 0.0,
    )
    failed = failures(facts.observation)

    if own:
        return [ended(facts, *own[0])]

    first = [one for one in failed if not SECONDARY.search(one.last_line)]

    if first or failed:
        return [raised(facts, (first or failed)[0], is_first=bool(first))]

    # A controller that winds a group down by itself is no failure.
    by_itself = facts.snapshot.run is None or facts.snapshot.run.state != "RUNNING"
    return [] if by_itself or not dead or job.has_ended else [vanished(facts, dead)]


def own_end(facts: AnalysisInput, member: RankContext) -> tuple[RankContext, ProcessExit] | None:
    """Return how a rank's process ended when nobody ended it."""
    row = facts.observation.exits.get(member.worker.worker_id)
    return (member, row) if row is not None and row.kind in OWN_ENDS else None


def ended(facts: AnalysisInput, member: RankContext, row: ProcessExit) -> Finding:
    """One process died: by the kernel for memory, by a signal or a crash, or by its own exit."""
    words = last_words(facts, member)
    cause = cause_of_end(facts, member, row, words)
    ends = {
        "worker_oom": "was killed for memory",
        "collective_mismatch": f"aborted: it {WORDS['collective_mismatch']}",
    }
    code = EXIT_CODE.search(row.detail)
    how = ends.get(cause) or (f"ended by exit code {code[1]}" if code else "died without a word")
    where = f"pid {row.pid} on {member.worker.hostname or member.worker.node_ip}"
    return Finding(
        cause=cause,
        severity="error",
        # Who aborts at another's size may be the one that is right.
        ranks=() if cause == "collective_mismatch" else ranks([member.worker]),
        summary=f"{name(member)} {how} ({where}); the others failed of that.",
        evidence=(
            f"Ray's worker table: {row.kind}, the first of the group: {first_sentence(row.detail)}",
            *(f"its stderr: {line}" for line in most_telling(words)),
            *oom_evidence(facts, member),
        ),
        next_step=logs_command(facts),
    )


def cause_of_end(
    facts: AnalysisInput, member: RankContext, row: ProcessExit, words: Sequence[str]
) -> Cause:
    if row.kind == "NODE_OUT_OF_MEMORY" or oom_evidence(facts, member):
        return "worker_oom"

    told = classify("\n".join(words))
    return told or "worker_dead"


def classify(text: str) -> Cause | None:
    return next((cause for pattern, cause in BY_TEXT if pattern.search(text)), None)


def oom_evidence(facts: AnalysisInput, member: RankContext) -> list[str]:
    if member.worker.pid in post_mortem_of(facts, member).oom_killed:
        return [f"the kernel's log: pid {member.worker.pid} killed for memory (OOM)"]

    return []


def last_words(facts: AnalysisInput, member: RankContext) -> list[str]:
    return list(post_mortem_of(facts, member).last_words.get(member.worker.worker_id, ()))


def post_mortem_of(facts: AnalysisInput, member: RankContext) -> PostMortem:
    report = facts.observation.node_reports.get(member.worker.node_id)
    return (report.post_mortem if report is not None else None) or PostMortem()


def most_telling(words: Sequence[str]) -> list[str]:
    """Return the few lines that say most, those that name a cause first, without log heads."""
    plain = [LOG_HEAD.sub("", line)[:200] for line in words]
    known = [line for line in plain if classify(line)]
    return list(dict.fromkeys([*known, *plain[::-1]]))[:2]


def raised(facts: AnalysisInput, failure: Failure, *, is_first: bool) -> Finding:
    """A rank's training function raised; `is_first` is False where all errors are consequences."""
    cause: Cause = classify(failure.text) or ("worker_dead" if is_first else "unknown")
    said = failure.last_line[:160]
    who = name_ranks(failure.ranks).capitalize() if failure.ranks else "The run"
    how = WORDS.get(cause, "raised an exception" if failure.ranks else "failed")
    place = place_of(failure.text)
    return Finding(
        cause=cause,
        severity="error",
        ranks=failure.ranks if is_first and cause != "collective_mismatch" else (),
        summary=f"{who} {how}{f' at {place}' if place else ''}: {said}",
        evidence=(
            f"Ray Train's controller: {said}",
            *(f"traceback: {line}" for line in traceback_of(failure.text)[-MOST_WORDS:]),
            *(() if is_first else ("every rank's error is one that another rank causes",)),
        ),
        next_step=logs_command(facts),
    )


def traceback_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("File ")]


def place_of(text: str) -> str:
    """Return "train.py:25" of the innermost frame outside of any installed package."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', text)
    own = [(file, line) for file, line in frames if "/site-packages/" not in file]
    return f"{own[-1][0].rpartition('/')[2]}:{own[-1][1]}" if own else ""


def node_lost(lost: Sequence[RankContext]) -> Finding:
    numbers = ranks(member.worker for member in lost)
    hosts = sorted({member.worker.hostname or member.worker.node_ip for member in lost})
    return Finding(
        cause="node_lost",
        severity="error",
        ranks=numbers,
        summary=f"Node {', '.join(hosts)} is lost, and {name_ranks(numbers)} with it.",
        evidence=tuple(f"Ray's node table: {member.worker.node_id[:8]} is dead" for member in lost)[
            :MOST_WORDS
        ],
        next_step="ray status",
    )


def vanished(facts: AnalysisInput, dead: Sequence[RankContext]) -> Finding:
    numbers = ranks(member.worker for member in dead)
    rows = (
        {row.actor_id: row for row in facts.observation.actors.workers}
        if facts.observation.actors
        else {}
    )
    return Finding(
        cause="worker_dead",
        severity="error",
        ranks=numbers,
        summary=f"The process of {name_ranks(numbers)} is dead.",
        evidence=tuple(
            f"pid {one.worker.pid}: {first_sentence(rows[one.worker.actor_id].death_cause) or 'gone'}"
            for one in dead
            if one.worker.actor_id in rows
        ),
        next_step=logs_command(facts),
    )


def name(member: RankContext) -> str:
    return f"Rank {member.worker.rank}" if member.worker.rank is not None else "A rank"


def first_sentence(text: str) -> str:
    return text.strip().partition(". ")[0][:200]


def logs_command(facts: AnalysisInput) -> str:
    job = facts.snapshot.job
    return (
        f"ray job logs {job.submission_id}"
        if job.submission_id
        else next_command(facts, "attach", ())
    )
