"""What a node keeps of processes, ended ones too: their logs, their last words, the run's own log."""

from __future__ import annotations

from dsray_inspect.agent.sampling.node_readers import ExternalReadBatch
from dsray_inspect.agent.sampling.observation import Observation

LOOP_GROUPS = 2
"""A run that has had so many worker groups before may fail again and again: its log tells."""


def want_post_mortem(batch: ExternalReadBatch, observation: Observation) -> None:
    """Read what is left of workers that have ended, and of a controller that has."""
    actors = observation.actors

    if actors is None or not (actors.some_ended or actors.past_groups >= LOOP_GROUPS):
        return

    gone: dict[str, dict[str, int]] = {}

    for row in actors.workers:
        if not row.alive:
            gone.setdefault(row.node_id, {})[row.worker_id] = row.pid

    if actors.controller is not None:
        gone.setdefault(actors.controller.node_id, {})

    for node_id, workers in gone.items():
        want_post_mortem_on(node_id, workers, batch=batch, observation=observation)


def want_post_mortem_on(
    node_id: str, ended: dict[str, int], *, batch: ExternalReadBatch, observation: Observation
) -> None:
    """Read what a node keeps of ended workers (pid by worker id), and of the run if it has it."""
    controller = observation.actors.controller if observation.actors else None
    has_train_log = controller is not None and controller.node_id == node_id
    batch.want_post_mortem(
        node_id,
        {
            "session_dir": observation.session_dirs.get(node_id, ""),
            "controller": controller.worker_id if has_train_log and controller else None,
            "workers": ended,
        },
    )


def want_logs(batch: ExternalReadBatch, observation: Observation) -> None:
    """Read the ends of the log files of the ranks that were asked for, ended ones too."""
    actors, ask = observation.actors, observation.request
    wanted: dict[str, dict[str, int]] = {}

    for row in actors.workers if actors is not None and ask.log_lines else ():
        if row.worker_id and (ask.only is None or row.actor_id in ask.only):
            wanted.setdefault(row.node_id, {})[row.worker_id] = row.pid

    for node_id, workers in wanted.items():
        batch.want_logs(node_id, {"workers": workers, "lines": ask.log_lines})
