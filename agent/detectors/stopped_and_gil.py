"""Ranks whose process does not run: stopped, or with its GIL held."""

from __future__ import annotations

from dsray_inspect.agent.assemble.snapshot import AnalysisInput
from dsray_inspect.agent.assemble.workers import RankContext
from dsray_inspect.agent.detectors.detection import (
    Detection,
    Facts,
    Place,
    place_of,
    rank_numbers,
)
from dsray_inspect.agent.detectors.evidence.activity import before_of
from dsray_inspect.agent.detectors.evidence.collective_waits import waits
from dsray_inspect.agent.detectors.evidence.gil import HELD_S, gil_holder_of
from dsray_inspect.agent.detectors.evidence.rank_index import in_state
from dsray_inspect.agent.detectors.registry import detector
from dsray_inspect.agent.model import Record, Worker
from dsray_inspect.agent.stacks.thread import Thread


class ProcessOnHost(Record, frozen=True, kw_only=True):
    pid: int
    hostname: str


class StoppedRanks(Facts, frozen=True, kw_only=True):
    """Processes in state T or t that no tracer holds."""

    processes: tuple[ProcessOnHost, ...]


class HeldByDebugger(Facts, frozen=True, kw_only=True):
    """Processes that one tracer holds."""

    tracer_pid: int
    hostname: str
    pids: tuple[int, ...]


class GilHolder(Record, frozen=True, kw_only=True):
    """The thread that holds a rank's GIL, and why the rank did not answer."""

    thread: str
    silence: str


class GilHeld(Facts, frozen=True, kw_only=True):
    """Ranks that hold their GIL at one place."""

    place: Place
    holders: tuple[GilHolder, ...]


@detector(causes=("unknown",), after=("network_unreachable",))
def stopped(sample: AnalysisInput) -> list[Detection]:
    """Processes in state T or t. There is no cause code for it, so the code is: unknown."""
    held: dict[tuple[str, int], list[Worker]] = {}
    alone: list[Worker] = []

    for member in in_state(sample, "stopped"):
        if tracer := member.tracer:
            held.setdefault((member.worker.hostname, tracer), []).append(member.worker)
        else:
            alone.append(member.worker)

    return [
        *([_stopped(alone)] if alone else []),
        *(
            _held(workers, hostname=hostname, tracer=tracer)
            for (hostname, tracer), workers in held.items()
        ),
    ]


def _stopped(workers: list[Worker]) -> Detection:
    return Detection(
        cause="unknown",
        severity="error",
        ranks=rank_numbers(workers),
        facts=StoppedRanks(
            processes=tuple(
                ProcessOnHost(pid=worker.pid, hostname=worker.hostname) for worker in workers
            )
        ),
    )


def _held(workers: list[Worker], *, hostname: str, tracer: int) -> Detection:
    return Detection(
        cause="unknown",
        severity="warning",
        ranks=rank_numbers(workers),
        facts=HeldByDebugger(
            tracer_pid=tracer, hostname=hostname, pids=tuple(worker.pid for worker in workers)
        ),
    )


@detector(causes=("gil_held",), after=("controller_blocked",))
def gil_held(sample: AnalysisInput) -> list[Detection]:
    """The main thread does not answer while another holds the GIL, at one place in two dumps."""
    if not _victims_wait(sample):
        return []

    alike: dict[Place, list[tuple[Worker, Thread]]] = {}

    for member in sample.members:
        holder = gil_holder_of(member)

        if holder is not None and _is_confirmed(sample, member):
            alike.setdefault(place_of(holder.frames[-1]), []).append((member.worker, holder))

    return [
        Detection(
            cause="gil_held",
            severity="error",
            ranks=rank_numbers(worker for worker, _ in held),
            facts=GilHeld(
                place=place,
                holders=tuple(
                    GilHolder(thread=thread.name, silence=worker.evidence.worker)
                    for worker, thread in held
                ),
            ),
        )
        for place, held in alike.items()
    ]


def _victims_wait(sample: AnalysisInput) -> bool:
    """Tell whether a peer has waited longer than a pause explains, or none can be asked."""
    waiting = waits(sample)
    return any(wait.waited_s >= HELD_S and wait.is_stall for wait in waiting) or (
        not waiting and sample.earlier is not None
    )


def _is_confirmed(sample: AnalysisInput, member: RankContext) -> bool:
    """Tell whether the last sample, if there was one, saw the GIL held at the same place.

    On a crowded machine a thread may be kept from its CPU, with the GIL, from one dump to the next.
    """
    before = before_of(sample, member)

    if before is None:
        return True

    holders = (before.seen.gil_keeper, member.seen.gil_keeper)
    places = [(thread.frames[-1].name, thread.frames[-1].file) for thread in holders if thread]
    return len(places) == len(holders) and len(set(places)) == 1
