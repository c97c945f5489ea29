"""The exit code of a command that has taken a sample."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.errors import ExitCode, PermissionMissing
from dsray_inspect.agent.model import OK, Snapshot, VerdictState

_HEALTHY_STATES: Final[tuple[VerdictState, ...]] = ("healthy", "starting", "finished")


def exit_code_of(snapshot: Snapshot) -> ExitCode:
    """Return `OK` if nothing is wrong, else `FINDINGS`.

    Raises:
        PermissionMissing: There are ranks, and not one of them could be read.
    """
    alive = [worker for worker in snapshot.workers if worker.state == "alive"]

    if alive and all(
        worker.evidence.stack != OK and worker.evidence.worker != OK for worker in alive
    ):
        evidence = alive[0].evidence
        raise PermissionMissing(
            f"No rank could be read: {evidence.stack}; {evidence.worker}.",
            help_text="dsray-inspect doctor   shows what each node needs.",
        )

    is_fine = snapshot.verdict.state in _HEALTHY_STATES and not snapshot.findings
    return ExitCode.OK if is_fine else ExitCode.FINDINGS
