"""Puts a recording together as one document."""

from __future__ import annotations

from typing import Final

from dsray_inspect.agent.environment import Difference, ValueOnRanks, differences
from dsray_inspect.agent.incident.replay import Replay
from dsray_inspect.agent.model import Snapshot, Worker
from dsray_inspect.agent.report.document import RankLog, ReportDocument
from dsray_inspect.agent.report.flame import flame_of
from dsray_inspect.agent.report.tracks import tracks_of

_MOST_LOGS: Final = 4
_LOG_LINES: Final = 30


def report_of(found: Replay) -> ReportDocument:
    """Return the report of what a file holds, which must have been read with all its samples."""
    snapshots, last, manifest = found.snapshots, found.last, found.manifest
    timeline = tracks_of(snapshots)
    return ReportDocument(
        tool=found.header.tool,
        public=found.header.public,
        samples=len(snapshots),
        from_at=snapshots[0].taken_at,
        until_at=last.taken_at,
        explanation=found.explanation(),
        moments=timeline.moments,
        states=timeline.states,
        tracks=timeline.tracks,
        hidden_ranks=timeline.hidden_ranks,
        flame=flame_of(snapshots),
        history=found.history,
        env=differences({w.rank: w.env for w in last.workers if w.rank is not None}),
        config=_config_differences(last.workers),
        logs=_logs(found),
        versions=_versions(last),
        left_out=tuple(f"{one.what}: {one.why}" for one in manifest.left_out) if manifest else (),
        redacted=manifest.redacted if manifest else (),
        replaced=manifest.replaced if manifest else (),
        damage=found.damage.how if found.damage else None,
    )


def _config_differences(workers: tuple[Worker, ...]) -> tuple[Difference, ...]:
    """Return the DeepSpeed settings that differ between ranks, the most common value first."""
    known = [(worker.rank, worker.deepspeed.config) for worker in workers if worker.deepspeed]
    found: list[Difference] = []

    for key in sorted({key for _, config in known for key in config}):
        ranks: dict[str | None, list[int]] = {}

        for rank, config in known:
            if rank is not None:
                ranks.setdefault(config.get(key), []).append(rank)

        if len(ranks) > 1:
            ordered = sorted(ranks.items(), key=lambda item: (-len(item[1]), item[1]))
            values = tuple(
                ValueOnRanks(value=value, source=None, ranks=tuple(having))
                for value, having in ordered
            )
            found.append(Difference(name=key, values=values))

    return tuple(found)


def _logs(found: Replay) -> tuple[RankLog, ...]:
    """Return the ends of the logs of the ranks to blame."""
    blamed = set(found.last.verdict.ranks)
    logged = [
        RankLog(rank=worker.rank, log=worker.log)
        for worker in found.with_logs(_LOG_LINES).workers
        if worker.rank in blamed and worker.log is not None and worker.actor_id in found.logs
    ]
    return tuple(logged[:_MOST_LOGS])


def _versions(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Return each package with the versions that the ranks have: one, where all is well."""
    found: dict[str, set[str]] = {}

    for worker in snapshot.workers:
        for package, version in worker.versions.items():
            found.setdefault(package, set()).add(version)

    return {package: tuple(sorted(versions)) for package, versions in sorted(found.items())}
