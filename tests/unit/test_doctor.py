"""What the doctor says of nodes and clusters that are not at hand."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from dsray_inspect.agent.doctor.facts import NodeCheck
from dsray_inspect.agent.doctor.fixes import fixes
from dsray_inspect.agent.doctor.probe import examine
from dsray_inspect.agent.doctor.report import (
    RUNGS,
    NodeAccess,
    Problem,
    Rung,
    summarize,
)
from dsray_inspect.agent.errors import VersionUnsupported
from dsray_inspect.agent.launchers.base import NodeReaderHost
from dsray_inspect.agent.launchers.ray import versions
from dsray_inspect.agent.launchers.ray.versions import Versions
from dsray_inspect.agent.remote import doctor_probe
from dsray_inspect.agent.remote.environ import EnvironUnreadable
from dsray_inspect.agent.remote.pyspy import explain
from dsray_inspect.agent.text.doctor import diagnosis_text
from tests.unit.node_checks import (
    DENIED,
    OUTSIDE,
    REFUSED,
    denied,
    diagnosis,
    facts,
    handle,
    node,
    prescribed,
    process,
)

# The nodes


def test_a_whole_node_needs_nothing() -> None:
    whole = node(facts())
    assert fixes([whole]) == ()
    assert {name: rung.state for name, rung in whole.rungs.items()} == {
        **dict.fromkeys(RUNGS, "ok"),
        "gpu": "none",
    }
    assert summarize((whole,), None) == "All evidence sources on 1 of 1 nodes."


def test_what_a_node_lacks_decides_the_exit_code() -> None:
    def code(*nodes: NodeAccess) -> int:
        return diagnosis(*nodes).exit_code

    whole, outside, blind = node(facts()), node(denied()), node(denied(), inside="no handle")
    assert code(whole) == code(whole, outside) == code(outside) == 0
    assert code(whole, blind) == 1
    assert code(blind) == 4


def test_the_summary_says_what_follows() -> None:
    inside = summarize((node(denied()),), None)
    assert "no stacks from outside" in inside
    assert "In-process reads answer there while a rank's main thread is free." in inside

    switched_off = msgspec.structs.replace(
        node(denied()), rungs={**node(denied()).rungs, "in_process": Rung(state="off")}
    )
    assert "Ranks there cannot be inspected." in summarize((switched_off,), None)
    assert "Ranks there cannot be inspected." in summarize((node(denied(), inside="x"),), None)


def test_equal_advice_is_given_once() -> None:
    (fix,) = fixes([node(denied(yama=1), name=name) for name in ("node-a", "node-b")])
    assert fix.nodes == ("node-a", "node-b")


def test_a_node_that_does_not_answer() -> None:
    silent = node(None, inside="the actor did not answer within 20 s")
    (fix,) = fixes([silent])
    assert "does not answer" in fix.what
    assert silent.node_id in "\n".join(fix.lines)
    assert silent.lacks == ("controller", "in_process", "stacks", "memory", "environ")
    assert silent.rights is None


class CannotJoin:
    """A cluster that answers but cannot be joined."""

    def join(self) -> NodeReaderHost:
        raise VersionUnsupported("This environment cannot join it.", help_text="Use its image.")


def test_a_cluster_that_cannot_be_joined_is_a_problem() -> None:
    preflight: Any = CannotJoin()
    nodes, problem = examine(preflight, [handle()], inject=True)
    assert problem == Problem(
        exit_code=6, what="This environment cannot join it.", fix="Use its image."
    )
    assert [report.rungs["in_process"].state for report in nodes] == ["no"]


@pytest.mark.parametrize(
    ("theirs", "what"),
    [
        (Versions(ray="2.59.1", python="3.11.7"), "has Ray 2.59.1"),
        (Versions(ray="2.60.0", python="3.11.8"), "has Python 3.11.8"),
    ],
)
def test_other_versions_cannot_join(
    monkeypatch: pytest.MonkeyPatch, theirs: Versions, what: str
) -> None:
    ours = Versions(ray="2.60.0", python="3.11.7")
    monkeypatch.setattr(versions, "our_versions", lambda: ours)
    monkeypatch.setattr(versions, "cluster_versions", lambda _: theirs)

    with pytest.raises(VersionUnsupported, match=what):
        versions.check_versions("127.0.0.1:1")


@pytest.mark.parametrize("theirs", [Versions(ray="2.60.0", python="3.11.7"), None])
def test_equal_or_unknown_versions_may_join(
    monkeypatch: pytest.MonkeyPatch, theirs: Versions | None
) -> None:
    ours = Versions(ray="2.60.0", python="3.11.7")
    monkeypatch.setattr(versions, "our_versions", lambda: ours)
    monkeypatch.setattr(versions, "cluster_versions", lambda _: theirs)
    versions.check_versions("127.0.0.1:1")


def test_everything_is_said_in_text() -> None:
    text = diagnosis_text(diagnosis(node(facts()), node(denied(yama=1), name="node-b")))
    assert "node-b: A process may read only its own descendants" in text
    assert "Yama 1" in text
    assert "smallest change: gives stacks, native stacks, memory reads and the environment" in text
    assert "\033" not in text


# What each evidence source needs


@pytest.mark.parametrize(
    ("found", "works"),
    [
        (facts(), OUTSIDE),
        (facts(process_vm_readv_call=REFUSED, me=process(seccomp=2)), OUTSIDE),
        (facts(ptrace_call=REFUSED, me=process(seccomp=2)), ("stacks", "memory", "environ")),
        (facts(target=process(tracer=77)), ("stacks", "memory", "environ")),
        (facts(pyspy=None, stacks="py-spy is not installed"), ("memory", "environ")),
        (facts(environ="its environ is not set"), ("stacks", "native_stacks", "memory")),
        (denied(yama=1), ()),
    ],
)
def test_what_each_evidence_source_needs(found: NodeCheck, works: tuple[str, ...]) -> None:
    rungs = node(found).rungs
    assert tuple(name for name in OUTSIDE if rungs[name].state == "ok") == works
    assert all(rungs[name].why for name in OUTSIDE if rungs[name].state != "ok")


def test_why_native_frames_are_missing() -> None:
    filtered = facts(ptrace_call=REFUSED, me=process(seccomp=2))
    assert node(filtered).rungs["native_stacks"].why == (
        "a seccomp filter refuses ptrace, which stops the process"
    )
    sandboxed = facts(ptrace_call="refused (Function not implemented)")
    assert "the kernel refuses ptrace" in node(sandboxed).rungs["native_stacks"].why
    assert "gVisor" in prescribed(sandboxed)[1]

    traced = facts(target=process(tracer=77))
    assert node(traced).rungs["native_stacks"].why == "pid 77 already traces it"
    assert "one tracer at a time" in prescribed(traced)[1]
    assert summarize((node(filtered),), None).endswith("node-a: no native frames.")
    assert diagnosis(node(filtered)).exit_code == 0


def test_the_environment_of_the_start_is_better_than_none() -> None:
    assert (
        node(denied()).rungs["environ"].why.endswith("only the variables of its start can be read")
    )
    other = denied(environ_at_exec="/proc/3/environ cannot be read")
    assert node(other).rungs["environ"].why == DENIED


def test_the_rights_of_a_node() -> None:
    restricted = process(uid=1000, caps=0, cap_bounding=0, no_new_privs=True, seccomp=2)
    pod = facts(container="kubernetes", me=restricted, root_read_only=True, first_process="pause")
    rights = node(pod).rights
    assert rights is not None
    assert (rights.uid, rights.gid, rights.capabilities) == (1000, 1000, ())
    assert (rights.no_new_privs, rights.seccomp, rights.yama) == (True, "filter", None)
    assert (rights.sees_ray, rights.shares_processes, rights.root_read_only) == (True, True, True)
    assert rights.pod_security is not None
    assert (rights.pod_security.level, rights.pod_security.at_most) == ("unknown", "restricted")
    machine = node(facts()).rights
    assert machine is not None
    assert machine.pod_security is None

    text = diagnosis_text(diagnosis(node(pod)))
    assert "user 1000, no capabilities, no_new_privs, seccomp filter, no Yama" in text
    assert "process namespace shared by the pod, with Ray, read-only root" in text
    assert "Pod Security level unknown, at most restricted" in text


@pytest.mark.parametrize(
    ("stderr", "is_denied"),
    [("Error: Permission denied (os error 13)", True), ("Error: No such process", False)],
)
def test_a_refusal_is_told_by_its_reason(
    monkeypatch: pytest.MonkeyPatch, stderr: str, is_denied: bool
) -> None:
    def unreadable(_pid: int) -> dict[str, str]:
        raise EnvironUnreadable("its memory does not read as expected")

    monkeypatch.setattr(doctor_probe, "live_environ", unreadable)
    monkeypatch.setattr(doctor_probe, "dump", lambda *_: explain(stderr, os.getppid()))
    assert doctor_probe.attempts([os.getpid()], "py-spy", 1.0)["is_denied"] is is_denied
