"""What of a sample may be published: listed facts, with other names for what is somebody's.

Every field with text has a rule in `public_rules`; one without is replaced as a whole. Numbers,
and words that our own types list, stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from dsray_inspect.agent.doctor.fixes import fixes
from dsray_inspect.agent.doctor.probe import judged
from dsray_inspect.agent.doctor.report import (
    ClusterReport,
    Diagnosis,
    NodeAccess,
    Problem,
    summarize,
)
from dsray_inspect.agent.history import History
from dsray_inspect.agent.incident.layout import LeftOut
from dsray_inspect.agent.incident.pseudonyms import Pseudonyms
from dsray_inspect.agent.incident.public_frames import public_frames
from dsray_inspect.agent.incident.public_names import PublicNames
from dsray_inspect.agent.incident.public_rules import RULES
from dsray_inspect.agent.incident.recorders import RecordersPart
from dsray_inspect.agent.model import DeepSpeed, Group
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.process_probe import Environ
from dsray_inspect.agent.stacks.stack import StackInfo
from dsray_inspect.agent.stacks.table import StackTable
from dsray_inspect.agent.startup.reader import Read
from dsray_inspect.agent.text.humanize import count

_JOB: Final = "JOB"
"""How the job is named in the commands that are suggested."""
_SHARED: Final = (Environ, DeepSpeed, Group)
"""One object of these is many ranks' and many samples': it is published once."""
_MOST_KNOWN: Final = 100_000


class Publisher:
    """Replaces names in one sample after another; the same name has one pseudonym in all."""

    hint: Final = (_JOB,)

    def __init__(self) -> None:
        self._names = PublicNames(Pseudonyms())
        self._stacks: dict[StackInfo, StackInfo] = {}
        self._known: dict[int, tuple[Any, Any]] = {}

    def observation(self, observation: Observation) -> Observation:
        """Return a sample as it may be published."""
        if len(self._known) > _MOST_KNOWN:
            self._known = {}

        found: Observation = self._published(observation)
        return found

    def start(self, read: Read) -> Read:
        """Return the moments of a start: what took them has names."""
        marks, facts = read.marks, read.facts
        numbers = msgspec.structs.replace(facts, spans={}, why="")
        return Read(facts=numbers, marks=marks, is_done=read.is_done)

    def text(self, said: str) -> str:
        return self._names.pseudonyms.text(said)

    def history(self, past: History) -> History:
        return msgspec.structs.replace(past, note=self._names.pseudonyms.text(past.note))

    def recorders(self, part: RecordersPart) -> RecordersPart:
        found: RecordersPart = self._record(part)
        return found

    def diagnosis(self, found: Diagnosis) -> Diagnosis:
        """Return what the doctor says of facts that may be published."""
        nodes = tuple(map(self._node_access, found.nodes))
        problem: Problem | None = self._published(found.problem)
        cluster: ClusterReport = self._record(found.cluster)
        return msgspec.structs.replace(
            found,
            summary=summarize(nodes, problem),
            cluster=cluster,
            problem=problem,
            nodes=nodes,
            fixes=fixes(nodes) if problem is None else (),
        )

    def _node_access(self, node: NodeAccess) -> NodeAccess:
        published: NodeAccess = self._record(node)
        inside, reason = node.rungs["in_process"], node.rungs["stacks"].why
        return judged(published, self._record(inside), reason=self.text(reason))

    def left_out(self) -> Iterator[LeftOut]:
        """Yield what is not public and therefore not in the file."""
        if self._names.dropped_variables:
            what = count(len(self._names.dropped_variables), "environment variable")
            yield LeftOut(what=what, why="not of Ray, DeepSpeed, torch or NCCL")

    def replaced(self) -> tuple[str, ...]:
        """Return how many names of each kind were replaced."""
        counts = self._names.pseudonyms.counts()
        return tuple(count(number, kind, _plural(kind)) for kind, number in counts.items())

    def _published(self, value: Any) -> Any:
        if isinstance(value, StackInfo):
            return self._stack(value)

        if isinstance(value, StackTable):
            return StackTable()

        if isinstance(value, _SHARED):
            if id(value) not in self._known:
                self._known[id(value)] = (value, self._record(value))

            return self._known[id(value)][1]

        if isinstance(value, msgspec.Struct):
            return self._record(value)

        if isinstance(value, (tuple, list)):
            return type(value)([self._published(item) for item in value])

        if isinstance(value, Mapping):
            return {self._published(key): self._published(item) for key, item in value.items()}

        if isinstance(value, str):
            return self._names.pseudonyms.name("text", value)

        return value if value is None or isinstance(value, (bool, int, float)) else type(value)()

    def _record(self, value: msgspec.Struct) -> Any:
        kind = type(value)
        rules, listed = RULES.get(kind, {}), literal_fields(kind)
        changed = {}

        for name in value.__struct_fields__:
            field = getattr(value, name)
            rule = rules.get(name)

            if field is None or name in listed:
                continue

            if rule is not None:
                changed[name] = rule(self._names, field)

                if rule.goes_on:
                    changed[name] = {k: self._published(v) for k, v in changed[name].items()}
            elif not isinstance(field, (bool, int, float)):
                changed[name] = self._published(field)

        published = msgspec.structs.replace(value, **changed)
        return self._names.whole(published, value)

    def _stack(self, stack: StackInfo) -> StackInfo:
        if stack not in self._stacks:
            frames = public_frames(stack.frames, self._names.pseudonyms)
            self._stacks[stack] = StackInfo(frames)

        return self._stacks[stack]


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


@cache
def literal_fields(kind: type) -> frozenset[str]:
    """Return the fields of a record that hold a word of a list in our types."""
    return frozenset(name for name, hint in get_type_hints(kind).items() if _is_literal(hint))


def _is_literal(hint: Any) -> bool:
    members = get_args(hint) if get_origin(hint) is not Literal else ()
    return get_origin(hint) is Literal or (
        bool(members)
        and any(get_origin(member) is Literal for member in members)
        and all(get_origin(member) is Literal or member is type(None) for member in members)
    )
