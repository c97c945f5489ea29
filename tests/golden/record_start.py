"""Record what is kept of a job's start into `startup/NAME.json`.

    python tests/golden/record_start.py --address HOST:PORT SUBMISSION_ID NAME

Run it on a machine that holds all of the job. Actor records lose what a handle is made of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from dsray_inspect.agent.handles import PlacementGroup, ProcessHandle, RunHandle
from dsray_inspect.agent.launchers.ray.connect import connect
from dsray_inspect.agent.launchers.ray.gcs import Gcs
from dsray_inspect.agent.launchers.ray.records import TaskHistory
from dsray_inspect.agent.launchers.ray.task_events import read_history
from dsray_inspect.agent.launchers.ray.train import find_runs
from dsray_inspect.agent.remote.startup_artifacts import telling_lines
from dsray_inspect.agent.remote.startup_record import start_record

HERE = Path(__file__).parent


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """All that a start can be rebuilt from."""

    actors: RunHandle
    history: TaskHistory
    groups: tuple[PlacementGroup, ...]
    log: tuple[tuple[int, str], ...]
    driver: str | None
    controller: str | None
    ranks: dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--logs", required=True, help="the session's logs folder")
    parser.add_argument("submission")
    parser.add_argument("name")
    args = parser.parse_args()
    connect(args.address)
    gcs = Gcs(args.address)
    job = next(one for one in gcs.jobs() if one.submission_id == args.submission)
    (run,) = find_runs(gcs.actors(job.job_id))
    assert run.controller is not None
    log = f"{args.logs}/train/ray-train-sys-controller-{run.controller.worker_id}.log"
    kept = Kept(
        actors=msgspec.structs.replace(
            run,
            controller=plain(run.controller),
            workers=tuple(plain(row) for row in run.workers),
        ),
        history=own(read_history(args.address, job.job_id), run),
        groups=tuple(group for group in gcs.placement_groups() if group.job_id == job.job_id),
        log=tuple(telling_lines(log)),
        driver=start_record(job.driver_pid),
        controller=start_record(run.controller.pid),
        ranks={
            row.actor_id: text for row in run.workers if (text := start_record(row.pid)) is not None
        },
    )
    (HERE / "startup" / f"{args.name}.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n"
    )


def plain(row: ProcessHandle) -> ProcessHandle:
    return msgspec.structs.replace(row, raw=b"", node_ip="192.0.2.1", runtime_env_vars={})


def own(history: TaskHistory, run: RunHandle) -> TaskHistory:
    """Return the history with the run's own processes only."""
    ids = {row.worker_id for row in (run.controller, *run.workers) if row}
    kept = {key: times for key, times in history.processes.items() if key in ids}
    return msgspec.structs.replace(history, processes=kept)


if __name__ == "__main__":
    main()
