"""The ranks that one sample need not read: they have not run since they were last read."""

from __future__ import annotations

from collections.abc import Iterable

from dsray_inspect.agent.handles import ProcessHandle
from dsray_inspect.agent.sampling.kept_reports import KeptReports
from dsray_inspect.agent.sampling.node_readers import NodeReaders
from dsray_inspect.agent.sampling.node_report import NodeReport
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.process_probe import ProcessProbe
from dsray_inspect.agent.unavailable import Unavailable


class RanksAtRest:
    """Those of one sample, by actor id; none before `find`."""

    def __init__(
        self, reports: KeptReports, readers: NodeReaders, observation: Observation
    ) -> None:
        self._reports = reports
        self._readers = readers
        self._observation = observation
        self._found: set[str] = set()

    def __contains__(self, actor_id: str) -> bool:
        return actor_id in self._found

    def is_known_outside(self, actor_id: str) -> bool:
        """Return whether a rank at rest is known by what its node has of it only."""
        is_silent = isinstance(self._observation.ranks.get(actor_id), Unavailable)
        return is_silent and actor_id in self._found

    def find(self, rows: Iterable[ProcessHandle]) -> None:
        """Find them by the times of their threads; takes what is known of them into the sample."""
        observation = self._observation
        nodes = {node.node_id: node for node in observation.nodes}
        rows = [row for row in rows if row.node_id in nodes]
        watched: dict[str, dict[int, list[int]]] = {}
        probes: dict[str, dict[int, ProcessProbe]] = {}

        for row in rows:
            tids = self._reports.watched(row.actor_id, observation.request)

            if tids:
                watched.setdefault(row.node_id, {})[row.pid] = tids

        times_s = self._readers.run_times_s(watched, nodes)

        for row in rows:
            if row.pid not in times_s.get(row.node_id, ()):
                continue

            kept = self._reports.holding(row.actor_id, times_s[row.node_id][row.pid])

            if kept is not None:
                self._found.add(row.actor_id)
                observation.ranks[row.actor_id] = kept.report
                probes.setdefault(row.node_id, {})[row.pid] = kept.probe

        for node_id, known in probes.items():
            read = {pid: probe for pid, probe in known.items() if probe.state is not None}

            if read:
                report = NodeReport(hostname=nodes[node_id].hostname, processes=read)
                observation.node_reports[node_id] = report

    def keep(self, rows: Iterable[ProcessHandle]) -> None:
        """Keep what the sample has read of the others."""
        observation = self._observation

        for row in rows:
            report = observation.ranks.get(row.actor_id)

            if row.actor_id not in self._found and report is not None:
                probe = observation.process(row.node_id, row.pid)
                self._reports.keep(row.actor_id, report, probe, observation.request)
