"""What py-spy could not read of a process although it read the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dsray_inspect.agent.sampling.node_report import NodeReport
from dsray_inspect.agent.sampling.process_probe import StackDump

_MAX_PIDS = 4


def dump_notes(reports: Iterable[NodeReport]) -> list[str]:
    """Return a sentence for each reason on each node."""
    pids: dict[tuple[str, str], list[int]] = {}

    for report in reports:
        for pid, probe in sorted(report.processes.items()):
            if isinstance(probe.stack, StackDump) and probe.stack.note:
                pids.setdefault((report.hostname, probe.stack.note), []).append(pid)

    return sorted(f"{_named(held)} on {host}: {note}" for (host, note), held in pids.items())


def _named(pids: Sequence[int]) -> str:
    """Return "pid 7", "pids 7 and 8", or how many more there are than are named."""
    named = [str(pid) for pid in pids[:_MAX_PIDS]]
    more = len(pids) - len(named)
    named += [f"{more} more"] if more else []
    return f"pid {named[0]}" if len(named) == 1 else f"pids {', '.join(named[:-1])} and {named[-1]}"
