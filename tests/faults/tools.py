"""What can be run on the suite: one small interface, dsray-inspect itself, and its peers."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job

LIMIT_S = 240.0


@dataclass(frozen=True)
class Answer:
    """What a tool says of a job.

    `state`: healthy, starting, degraded, hung, failed, finished or unknown. `cause`: a code, or
    None where the tool names none. `ranks`: the culprits.
    """

    state: str
    cause: str | None
    ranks: tuple[int, ...]
    text: str = ""
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Target:
    """A running job, as any tool may know it."""

    cluster: Cluster
    job: Job

    @property
    def address(self) -> str:
        return self.cluster.address

    @property
    def name(self) -> str:
        return self.job.submission_id

    def pids(self) -> dict[int, int]:
        """Return the pid of each rank that has made a step."""
        return self.job.pids()


class Tool(Protocol):
    """Something that is asked about a job."""

    names_causes: bool

    def judge(self, target: Target) -> Answer:
        """Look at a job from cold and say what is wrong with it."""
        ...

    def follow(self, target: Target, until: float) -> Iterator[Answer]:
        """Watch a job until a Unix time; yield each answer that differs from the one before."""
        ...


class Polls:
    """Follows by asking again and again."""

    names_causes = True

    def judge(self, target: Target) -> Answer:
        raise NotImplementedError

    def follow(self, target: Target, until: float) -> Iterator[Answer]:
        while time.time() < until:
            yield self.judge(target)
            time.sleep(1.0)


class DsrayInspect(Polls):
    """`dsray-inspect why`; it follows by `--watch`."""

    def judge(self, target: Target) -> Answer:
        done = target.cluster.inspect(
            "why", target.name, "--json", "--timeout", str(LIMIT_S), timeout=2 * LIMIT_S
        )

        if done.returncode not in (0, 1):
            return Answer("unknown", None, (), done.stderr.strip())

        return answer_of(done.stdout)

    def follow(self, target: Target, until: float) -> Iterator[Answer]:
        watch = target.cluster.watch("why", target.name, "--json", "--watch")

        try:
            yield from (answer_of(line) for line in lines_until(watch, until))
        finally:
            watch.kill()
            watch.communicate()


def answer_of(text: str) -> Answer:
    verdict = json.loads(text)["verdict"]
    return Answer(verdict["state"], verdict["cause"], tuple(verdict["ranks"]), verdict["summary"])


def lines_until(watch: subprocess.Popen[str], until: float) -> Iterator[str]:
    """Yield the lines that a process prints, until a Unix time or its end."""
    import selectors

    assert watch.stdout is not None
    chooser = selectors.DefaultSelector()
    chooser.register(watch.stdout, selectors.EVENT_READ)

    while (left_s := until - time.time()) > 0:
        if chooser.select(left_s):
            line = watch.stdout.readline()

            if not line:
                return

            yield line


class MajorityStack(Polls):
    """ByteRobust's aggregation: ranks whose stack is not that of most are to blame.

    Two dumps by py-spy, a second apart; only when all stacks stay as they are the run is hung.
    """

    names_causes = False
    apart_s = 1.0

    def judge(self, target: Target) -> Answer:
        first = self.stacks(target)
        time.sleep(self.apart_s)
        second = self.stacks(target)

        if not second:
            return Answer("unknown", None, (), "no rank has a process")

        if first != second:
            return Answer("healthy", None, (), "stacks change")

        groups = Counter(second.values())
        usual, count = groups.most_common(1)[0]

        if count == len(second):
            return Answer("hung", None, (), "all stacks are alike and do not change")

        odd = tuple(sorted(rank for rank, stack in second.items() if stack != usual))
        return Answer("hung", None, odd, f"{len(groups)} groups of stacks")

    def stacks(self, target: Target) -> dict[int, tuple[str, ...]]:
        found = {}

        for rank, pid in target.pids().items():
            threads = processes.stacks(pid)
            training = [one for name, one in threads.items() if name.startswith("TrainingThread")]

            if training:
                found[rank] = tuple(training[0])

        return found


class RayStack(Polls):
    """`ray stack`: prints every Python process of this node; whoever reads it must judge."""

    names_causes = False

    def judge(self, target: Target) -> Answer:
        done = target.cluster.run("ray", "stack", timeout=LIMIT_S)
        return Answer("unknown", None, (), f"{len(done.stdout.splitlines())} lines of stacks")


class Command(Polls):
    """Any other program: `cmd:PROGRAM … {address} … {job}`, which prints an answer as JSON."""

    def __init__(self, template: str) -> None:
        self.template = template

    def judge(self, target: Target) -> Answer:
        argv = shlex.split(self.template.format(address=target.address, job=target.name))
        done = target.cluster.run(*argv, timeout=LIMIT_S)

        try:
            said = json.loads(done.stdout)
            return Answer(said["state"], said.get("cause"), tuple(said.get("ranks", ())))
        except (ValueError, KeyError):
            return Answer("unknown", None, (), done.stderr.strip()[:500])


def tool(name: str) -> Tool:
    """Return the tool of that name.

    Raises:
        LookupError: there is none.
    """
    if name.startswith("cmd:"):
        return Command(name.removeprefix("cmd:"))

    known: dict[str, type[Polls]] = {
        "dsray-inspect": DsrayInspect,
        "majority-stack": MajorityStack,
        "ray-stack": RayStack,
    }

    if name not in known:
        raise LookupError(f"no tool {name}; there are {', '.join(known)} and cmd:COMMAND")

    return known[name]()
