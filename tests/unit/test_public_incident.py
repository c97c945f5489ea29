"""Public incident files: nothing of a user's own comes out of any byte of them."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from dsray_inspect.agent.diff.own_names import PSEUDONYM
from dsray_inspect.agent.doctor.report import RUNGS, Diagnosis, Fix, Rung
from dsray_inspect.agent.doctor.rights import NodeRights, PodSecurity
from dsray_inspect.agent.history import History
from dsray_inspect.agent.incident.allowed import is_public_key, vocabulary
from dsray_inspect.agent.incident.layout import DOCTOR, HISTORY, RECORDERS, Header
from dsray_inspect.agent.incident.pseudonyms import Pseudonyms
from dsray_inspect.agent.incident.public_frames import public_frames
from dsray_inspect.agent.incident.public_names import PublicNames
from dsray_inspect.agent.incident.public_rules import RULES
from dsray_inspect.agent.incident.publishing import Publisher, literal_fields
from dsray_inspect.agent.incident.recorders import RecordersPart
from dsray_inspect.agent.incident.writer import IncidentWriter
from dsray_inspect.agent.model import Frame, InitPhase, Local, LogFile, Verdict
from dsray_inspect.agent.sample_chain import SampleChain
from dsray_inspect.agent.sampling.node_report import LogTail
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.rank_report import OpBuild
from dsray_inspect.agent.stacks.layers import home
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.startup.reader import Read
from tests.unit.incidents import all_bytes, two_samples
from tests.unit.snapshots import recorded

# What a name of somebody's may look like; {} makes each one its own.
SHAPES = (
    "plant{}",
    "plant-host{}.plant.example",
    "10.77.66.{}",
    "/home/plantuser/plant{}/plant.py",
    "~/plant{}",
    "/opt/plant/lib/python3.11/site-packages/plantpackage{}/plant.py",
    "/opt/plant/lib/python3.11/plantmodule{}.py",
    "/opt/plant/libplant{}.so",
    "<plant{}>",
    "<eval_with_key>.plant{}",
    "<frozen plant{}>",
    "PLANT_{}",
    "NCCL_PLANT_{}",
    "OMP_PLANT={}",
    "plant{}@plant.example",
    "https://plant{}.example/plant?plant=1",
    'File "/home/plant/plant{0}.py", line {0}, in plant_function',
    "RuntimeError: plant{} was here",
    "[Rank 0 Error Snippet]:\nplant{}",
    "(ip=10.77.66.1, pid={}) world_rank=0",
    "TrainingThread(plant{})",
    "MapBatches(plant{})",
    "node:10.77.66.{}",
    "accelerator_type:plant{}",
    "GPU_group_0_plant{}",
    "ray.plant{}",
    "nccl:plant{}",
    "plant{}:0-3",
    "eth0,plant{}",
    "fe80::77:66:{}",
    "PLAÑT{}",
    "1plant{}",
    "zero_optimization.plant{}",
)
PLANTED = re.compile(rb"plant|pla\xc3\xb1t|77[.:]66", re.IGNORECASE)


class Planter:
    """Makes a value of any type, with something of somebody's wherever there is room for text."""

    def __init__(self, shape: str) -> None:
        self._shape = shape
        self._number = 0

    def text(self) -> str:
        self._number += 1
        return self._shape.format(self._number)

    def planted(self, kind: Any, *, of_union: int = 0) -> Any:
        if kind is StackInfo:
            return StackInfo(tuple(self.frames()))

        if kind is StackTable:
            return StackTable()

        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            hints = get_type_hints(kind)
            return kind(**{name: self.planted(hints[name], of_union=of_union) for name in hints})

        return self._value(kind, of_union)

    def frames(self) -> Iterator[Frame]:
        for layer in ("user", "library", "python", "native", "torch", "ray", "deepspeed"):
            name, file = self.text(), self.text()
            yield Frame(name=name, file=file, line=1, layer=layer, qualname=name)

    def _value(self, kind: Any, of_union: int) -> Any:
        origin, args = get_origin(kind), get_args(kind)

        if origin is Literal:
            return args[0]

        if origin in (Union, types.UnionType):
            members = [arg for arg in args if arg is not types.NoneType]
            return self.planted(members[of_union % len(members)], of_union=of_union)

        if isinstance(origin, type) and issubclass(origin, Mapping):
            key = self.planted(args[0])
            return {key: self.planted(args[1], of_union=of_union)}

        if origin in (tuple, list, frozenset) or isinstance(origin, type):
            item = self.planted(args[0], of_union=of_union)
            return (
                [item]
                if origin is list
                else (
                    frozenset([item]) if origin is frozenset else tuple(item for _ in _places(args))
                )
            )

        plain: dict[Any, Any] = {str: self.text(), bytes: self.text().encode(), bool: False}
        return plain[kind] if kind in plain else kind(1)


def _places(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return args if args[-1] is not ... else args[:1]


def files(folder: Path, shape: str) -> Iterator[Path]:
    """Write public files of a sample that is full of names: with answers, and without."""
    for of_union in (0, 1):
        planter = Planter(shape)
        observation = planter.planted(Observation, of_union=of_union)
        start = planter.planted(Read)
        publisher = Publisher()
        path = folder / f"{of_union}.dsray"
        header = Header(tool="0", began_at=1.0, public=True, hint=publisher.hint)
        published = publisher.observation(observation)
        verdict = Verdict(state="unknown", cause=None, ranks=(), summary="")

        with IncidentWriter(path, header) as writer:
            assert writer.add_sample(published, publisher.start(start), verdict)
            writer.add(HISTORY, publisher.history(History(note=planter.text())))
            writer.add(RECORDERS, publisher.recorders(planter.planted(RecordersPart)))
            writer.add(DOCTOR, publisher.diagnosis(_diagnosis(planter)))
            said = (*publisher.replaced(), *(left.what for left in publisher.left_out()))
            writer.add("said.json", msgspec.structs.replace(header, hint=said))
            writer.finish()

        yield path


def _diagnosis(planter: Planter) -> Diagnosis:
    found: Diagnosis = planter.planted(Diagnosis)
    rungs = {name: Rung(state="no", why=planter.text()) for name in RUNGS}
    nodes = tuple(msgspec.structs.replace(node, rungs=rungs) for node in found.nodes)
    return msgspec.structs.replace(found, nodes=nodes, problem=None)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_that_is_planted_anywhere_comes_out(tmp_path: Path, shape: str) -> None:
    for path in files(tmp_path, shape):
        unpacked = all_bytes(path)
        found = PLANTED.search(unpacked)
        assert found is None, unpacked[max(0, found.start() - 200) : found.end() + 80]


def test_the_planter_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "private.dsray"

    with IncidentWriter(path, Header(tool="0", began_at=1.0, public=False)) as writer:
        observation = Planter("plant{}").planted(Observation)
        verdict = Verdict(state="unknown", cause=None, ranks=(), summary="")
        writer.add_sample(observation, None, verdict)
        writer.finish()

    assert len(PLANTED.findall(all_bytes(path))) > 100


def records(kind: Any, found: set[type]) -> set[type]:
    """Return the types of records that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
        found.add(kind)

        for hint in get_type_hints(kind).values():
            records(hint, found)

    for arg in get_args(kind):
        records(arg, found)

    return found


def has_text(hint: Any) -> bool:
    return hint in (str, bytes) or (
        get_origin(hint) is not Literal and any(map(has_text, get_args(hint)))
    )


ELSEWHERE: tuple[type, ...] = (
    *(Frame, InitPhase, Local, LogFile, LogTail, OpBuild),
    *(Diagnosis, Fix, NodeRights, PodSecurity),
)
"""Frames have a module of their own; what the doctor says is said again of facts that are public;
the others are left out with what they are in."""


PUBLISHED = {
    kind for one in (Observation, RecordersPart, Diagnosis) for kind in records(one, set())
}


def test_each_field_with_text_has_a_rule() -> None:
    without = [
        f"{kind.__name__}.{name}"
        for kind in PUBLISHED - set(ELSEWHERE)
        for name, hint in get_type_hints(kind).items()
        if has_text(hint) and name not in literal_fields(kind) and name not in RULES.get(kind, {})
    ]
    assert without == []


def test_each_rule_is_of_a_field_that_exists() -> None:
    assert [
        f"{kind.__name__}.{name}"
        for kind, rules in RULES.items()
        for name in rules
        if name not in get_type_hints(kind)
    ] == []


def test_the_verdict_has_pseudonyms_and_the_same_cause() -> None:
    publisher, chain = Publisher(), SampleChain()

    for observation in two_samples():
        snapshot = chain.add(publisher.observation(observation))

    assert snapshot.verdict.cause == "rank_blocked_in_user_code"
    assert snapshot.verdict.ranks == (1,)
    assert "blocked in function-1 (file-1.py:20)" in snapshot.verdict.summary
    assert snapshot.job.label == "job-1"


def test_of_a_sentence_only_known_words_stay() -> None:
    """As docs/commands/record.md says."""
    said = Pseudonyms().text("RuntimeError: shard acme-7 is gone")
    assert said == "RuntimeError: shard word-1 is gone"


def test_a_name_has_one_pseudonym() -> None:
    names = Pseudonyms()
    assert names.text("RuntimeError in acme_load on gpu-box-7") == (
        f"RuntimeError in {names.function('acme_load')} on {names.host('gpu-box-7')}"
    )
    assert names.host("gpu-box-7") == names.name("anything", "gpu-box-7")
    assert names.address("gpu-box-7:29500") == f"{names.host('gpu-box-7')}:29500"
    assert names.host("gpu-box-8") != names.host("gpu-box-7")


@pytest.mark.parametrize("host", ["10.1.2.3", "2001:db8::1"])
def test_addresses_stay_addresses(host: str) -> None:
    assert Pseudonyms().host(host) == "198.18.0.1"
    assert Pseudonyms().host("127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize(
    ("file", "layer", "kept"),
    [
        ("/home/me/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", "torch", True),
        ("/home/me/src/DeepSpeed/deepspeed/runtime/engine.py", "deepspeed", True),
        ("/home/me/venv/lib/python3.11/site-packages/ray/train/x.py", "ray_train", True),
        ("/home/me/lib/python3.11/threading.py", "python", True),
        ("<frozen importlib._bootstrap>", "python", True),
        ("/home/me/venv/lib/python3.11/site-packages/acme/loop.py", "library", False),
        ("/home/me/venv/lib/python3.11/site-packages/torch_acme/loop.py", "user", False),
        ("/home/me/train.py", "user", False),
    ],
)
def test_frames_of_public_packages_keep_their_names(file: str, layer: Any, kept: bool) -> None:
    frame = Frame(name="step", file=file, line=3, layer=layer)
    (public,) = public_frames([frame], Pseudonyms())
    assert "/home/me" not in public.file
    assert (public.name == "step") is kept
    assert (public.line, public.layer) == (3, layer)

    if kept and layer != "deepspeed":
        assert home(public.file) == home(file)


def test_variables_of_nobody_we_know_are_left_out() -> None:
    names = PublicNames(Pseudonyms())
    given = {
        "RANK": "3",
        "ACME_DATA": "s3://acme/x",
        "NCCL_DEBUG": "INFO",
        "NCCL_ACME": "7",
        "NCCL_SOCKET_IFNAME": "eth0,acme0",
        "NCCL_DEBUG_FILE": "/home/me/x.%h",
        "MASTER_ADDR": "box.acme.com",
    }
    assert names.variables(given) == {
        "RANK": "3",
        "NCCL_DEBUG": "INFO",
        "NCCL_VARIABLE_1": "7",
        "NCCL_SOCKET_IFNAME": "eth0,interface-1",
        "NCCL_DEBUG_FILE": "value-1",
        "MASTER_ADDR": "host-1",
    }
    assert names.dropped_variables == {"ACME_DATA"}


def test_the_vocabulary_is_of_messages_not_of_examples() -> None:
    words = vocabulary()
    assert words >= {"timed", "out", "rank", "runtimeerror", "diststoreerror"}
    assert not words & {"load_batch", "acme", "localhost_name"}


def test_keys_of_deepspeeds_own_config_keep_their_names() -> None:
    """Those of the engine of the recorded snapshot, which is DeepSpeed's whole ZeRO config."""
    (worker, *_) = recorded("hung").workers
    assert worker.deepspeed is not None
    assert [key for key in worker.deepspeed.config if not is_public_key(key)] == []
    assert not is_public_key("acme.lr")
    assert not is_public_key("10.1.2.3")


def test_diff_knows_the_pseudonyms_of_names() -> None:
    """But for the short ones of ids, which it does not compare."""
    publisher = Publisher()
    publisher.observation(Planter("plant{}").planted(Observation))
    given = publisher._names.pseudonyms._given
    unknown = {
        kind
        for kind, names in given.items()
        for name in names.values()
        if f"{kind}-" in name and not PSEUDONYM.fullmatch(name)
    }
    assert unknown == set()
