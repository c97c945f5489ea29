"""Reports of runs that never existed: what the tests of them share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import msgspec

from dsray_inspect.agent.formats import renderer_of
from dsray_inspect.agent.history import History
from dsray_inspect.agent.incident.layout import HISTORY, LOGS, MANIFEST, Header, LogsPart
from dsray_inspect.agent.incident.replay import Replay, replay
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.model import Log, LogFile, Snapshot
from dsray_inspect.agent.report.build import report_of
from dsray_inspect.agent.report.document import ReportDocument
from dsray_inspect.agent.sample_chain import SampleChain
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.text.style import PLAIN
from tests.unit.incidents import manifest
from tests.unit.samples import IN_DATA, IN_USER, job, sample_of, stands, waits
from tests.unit.snapshots import many_ranks, recorded

RAN: Final = "window.ranOnThePage = 1"
ATTACK: Final = (
    "</script></style></title></textarea>--><script>" + RAN + "</script>"
    f'<img src="https://plant.example/x" onerror="{RAN}">\'"` onfocus={RAN} autofocus '
    f"<svg onload='{RAN}'>"
)
"""A name that would run, were it anything but text."""


def at(taken_at: float, *ranks: dict[str, Any], **more: Any) -> Observation:
    observation = sample_of(*ranks, **more).observation
    observation.taken_at = taken_at
    return observation


def changing() -> list[Observation]:
    """Return samples of a run in which rank 1 reads data first, and then hangs in its own code."""
    reads = (waits(0, 0.2), stands(1, IN_DATA, 0.2, ran_s=3.0), waits(2, 0.2))
    hangs = (waits(0, 31), stands(1, IN_USER, 31), waits(2, 31))
    return [at(100.0, *reads), at(101.0, *reads), at(103.0, *hangs), at(104.0, *hangs)]


def live(variables: dict[str, str]) -> dict[str, Any]:
    return {"variables": variables, "set_after_exec": [], "from_parent": None}


def hostile() -> list[Observation]:
    """Return samples of a run whose every name is an attack."""
    site = "/venv/site-packages"
    frames = (
        (ATTACK, f"{ATTACK}.{ATTACK}", f"/app/{ATTACK}.py", 10),
        (ATTACK, ATTACK, f"{site}/torch/{ATTACK}.py", 11),
        (ATTACK, ATTACK, f"/app/{ATTACK}", 20),
    )
    environ = {"RANK": "1", ATTACK: ATTACK, "NCCL_DEBUG": ATTACK}
    one = {**stands(1, frames, 31), "environ": live(environ)}
    name = {"job": job(submission_id=ATTACK, entrypoint=ATTACK)}
    nodes = {"n1": {"hostname": ATTACK}}
    zero = {**waits(0, 31), "environ": live({"RANK": "0"})}
    ranks = (zero, one, waits(2, 31))
    return [at(when, *ranks, node_answers=nodes, **name) for when in (100.0, 101.0)]


def planted() -> list[Observation]:
    """Return samples of a run whose every name has "plant" in it."""
    site = "/plant/venv/lib/python3.11/site-packages"
    frames = (
        ("plant_train", "Plant.plant_train", "/home/plant/plant.py", 10),
        ("all_reduce", "all_reduce", f"{site}/torch/distributed/distributed_c10d.py", 11),
    )
    environ = {"RANK": "1", "PLANT": "plant", "NCCL_DEBUG": "plant"}
    one = {**stands(1, frames, 31), "environ": live(environ)}
    row = job(submission_id="plant-job", entrypoint="python plant.py --plant")
    nodes = {"n1": {"hostname": "plant-host"}}
    zero = {**waits(0, 31), "environ": live({"RANK": "0", "NCCL_DEBUG": "INFO"})}
    ranks = (zero, one, waits(2, 31))
    return [at(when, *ranks, node_answers=nodes, job=row) for when in (100.0, 101.0)]


def write_file(
    path: Path, observations: Sequence[Observation], *, log: str = "a line", public: bool = False
) -> Path:
    """Write an incident file of these samples, with a log of rank 1."""
    chain = SampleChain()
    given = [chain.add(observation) for observation in observations]
    logged = LogFile(stream="stdout", path=f"/logs/{log}", age_s=3.0, lines=(log,), is_whole=True)

    with IncidentWriter(path, Header(tool="0.1.0", began_at=100.0, public=public)) as writer:
        for observation, snapshot in zip(observations, given, strict=True):
            writer.add_sample(observation, None, snapshot.verdict)

        writer.add(HISTORY, History(note="nothing is recorded"))
        logs = LogsPart(logs={"a1": Log(hostname="h", files=(logged,))})
        writer.add(LOGS, logs)
        writer.add(MANIFEST, manifest(writer, given))
        writer.finish()

    return path


def report(path: Path) -> ReportDocument:
    return report_of(replay(path, keep=None, start=True))


def of_snapshots(*snapshots: Snapshot) -> ReportDocument:
    return report_of(
        Replay(
            header=Header(tool="0.1.0", began_at=snapshots[0].taken_at, public=False),
            snapshots=snapshots,
            logs={},
            recorders=None,
            doctor=None,
            start=None,
            history=None,
            manifest=None,
            unknown=(),
            damage=None,
        )
    )


def hung_ranks(ranks: int, taken_at: float) -> Snapshot:
    """Return a sample of very many ranks: one in eight is in user code, the others wait for it."""
    hung = recorded("hung")
    snapshot = many_ranks(hung, ranks)
    late = tuple(range(0, ranks, 8))
    on_time = tuple(rank for rank in range(ranks) if rank % 8)
    pattern = [group for group in hung.stacks.groups if group.role == "worker"]
    groups = tuple(
        msgspec.structs.replace(group, ranks=those)
        for group, those in zip(pattern, (on_time, late), strict=False)
    )
    others = tuple(group for group in hung.stacks.groups if group.role != "worker")
    stacks = msgspec.structs.replace(snapshot.stacks, groups=(*groups, *others))
    verdict = msgspec.structs.replace(snapshot.verdict, ranks=late)
    return msgspec.structs.replace(snapshot, stacks=stacks, verdict=verdict, taken_at=taken_at)


def rendered(document: ReportDocument, name: str = "html") -> str:
    found = renderer_of(ReportDocument, name)(document, PLAIN)
    return found if isinstance(found, str) else found.decode()


class Page(HTMLParser):
    """What a page is made of, as an HTML parser sees it."""

    RAW: Final = ("script", "style")

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: dict[str, int] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.raw: list[str] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        is_raw = bool(self._open) and self._open[-1] in self.RAW
        (self.raw if is_raw else self._text).append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self._text))
