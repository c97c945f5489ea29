"""Which evidence sources work on a node: a table from what the probe found to rungs."""

from __future__ import annotations

from dsray_inspect.agent.doctor.facts import NodeCheck
from dsray_inspect.agent.doctor.report import RUNGS, Rung
from dsray_inspect.agent.model import OK

_WORKS = Rung(state="ok")
_FILTER = 2
"""The seccomp mode of a process under a filter."""


def rungs_of(facts: NodeCheck, inside: Rung, slots: int) -> dict[str, Rung]:
    """Return the rungs of a node that has answered; `inside` is that of calls into actors."""
    outside = (
        _tried(facts.stacks),
        _native_stacks(facts),
        _tried(facts.memory),
        _environ(facts),
        _gpu(facts, slots),
    )
    return dict(zip(RUNGS, (_WORKS, inside, inside, *outside), strict=True))


def silent_rungs(inside: Rung, slots: int, reason: str) -> dict[str, Rung]:
    """Return the rungs of a node that has not answered."""
    silent = Rung(state="no", why=reason)
    gpu = silent if slots else Rung(state="none", why=reason)
    outside = (silent, silent, silent, silent, gpu)
    return dict(zip(RUNGS, (_WORKS, inside, inside, *outside), strict=True))


def _tried(result: str) -> Rung:
    return _WORKS if result == OK else Rung(state="no", why=result)


def _native_stacks(facts: NodeCheck) -> Rung:
    """Return whether py-spy could stop a worker: what else it needs, it has where it gives stacks.

    The kernel allows the stop wherever it allows reading memory, unless the call is refused to all or
    somebody traces the process already. No process is stopped to find that out.
    """
    if facts.stacks != OK:
        return Rung(state="no", why=facts.stacks)

    if facts.ptrace_call != OK:
        by = "a seccomp filter refuses" if facts.me.seccomp == _FILTER else "the kernel refuses"
        return Rung(state="no", why=f"{by} ptrace, which stops the process")

    if facts.target is not None and facts.target.tracer:
        return Rung(state="no", why=f"pid {facts.target.tracer} already traces it")

    return _WORKS


def _environ(facts: NodeCheck) -> Rung:
    if facts.environ != OK and facts.environ_at_exec == OK:
        why = f"{facts.environ}; only the variables of its start can be read"
        return Rung(state="no", why=why)

    return _tried(facts.environ)


def _gpu(facts: NodeCheck, slots: int) -> Rung:
    if facts.gpus:
        return _WORKS

    return Rung(state="no" if slots else "none", why=facts.gpu_why)
