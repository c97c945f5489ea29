"""The ranks that one sample need not ask: they have not run since they last answered."""

from __future__ import annotations

from collections.abc import Iterable

from dsray_inspect.agent.handles import ProcessHandle
from dsray_inspect.agent.sampling.kept_reports import KeptReport, KeptReports
from dsray_inspect.agent.sampling.node_readers import NodeReaders
from dsray_inspect.agent.sampling.observation import Observation
from dsray_inspect.agent.sampling.process_probe import ProcessProbe


class RanksAtRest:
    """Those of one sample, by actor id; none before `find`."""

    def __init__(
        self, reports: KeptReports, readers: NodeReaders, observation: Observation
    ) -> None:
        self._reports = reports
        self._readers = readers
        self._observation = observation
        self._found: dict[str, KeptReport] = {}

    def __contains__(self, actor_id: str) -> bool:
        return actor_id in self._found

    def find(self, rows: Iterable[ProcessHandle]) -> None:
        """Find them by the times of their threads; takes their reports into the sample."""
        nodes = {node.node_id: node for node in self._observation.nodes}
        rows = [row for row in rows if row.node_id in nodes]
        watched: dict[str, dict[int, list[int]]] = {}

        for row in rows:
            tids = self._reports.watched(row.actor_id, self._observation.request)

            if tids:
                watched.setdefault(row.node_id, {})[row.pid] = tids

        times_s = self._readers.run_times_s(watched, nodes)

        for row in rows:
            if row.pid not in times_s.get(row.node_id, ()):
                continue

            kept = self._reports.holding(row.actor_id, times_s[row.node_id][row.pid])

            if kept is not None:
                self._found[row.actor_id] = kept
                self._observation.ranks[row.actor_id] = kept.report

    def keep(self, rows: Iterable[ProcessHandle]) -> None:
        """Keep what the sample has read of the others; it gets what their nodes said of these."""
        observation = self._observation
        known: dict[str, dict[int, ProcessProbe]] = {}

        for row in rows:
            kept, report = self._found.get(row.actor_id), observation.ranks.get(row.actor_id)

            if kept is not None:
                known.setdefault(row.node_id, {})[row.pid] = kept.probe
            elif report is not None:
                probe = observation.process(row.node_id, row.pid)
                self._reports.keep(row.actor_id, report, probe, observation.request)

        for node_id, probes in known.items():
            if node_id in observation.node_reports:
                node = observation.node_reports[node_id]
                observation.node_reports[node_id] = node.with_known(probes)
