"""The dashboard to open when an alert fires."""

from __future__ import annotations

from typing import get_args

from dsray_inspect.agent.model import PHASES, VerdictState, WorkerState
from dsray_inspect.dashboards.model import Board, Row, panel, query
from dsray_inspect.dashboards.queries import (
    ATTEMPTS,
    BY_RUN,
    CLUSTERS,
    RANK,
    RANKS,
    RUN,
    RUNS,
    coded,
    during,
    names,
    or_none,
    with_place,
)

_VERDICTS = get_args(VerdictState)
_STATES = get_args(WorkerState)
_VERDICT_COLORS = {
    "healthy": "green",
    "starting": "blue",
    "degraded": "orange",
    "hung": "red",
    "failed": "dark-red",
    "finished": "dark-green",
    "unknown": "gray",
}
_STATE_COLORS = {
    "alive": "green",
    "stopped": "orange",
    "pending": "blue",
    "restarting": "yellow",
    "dead": "red",
    "unknown": "gray",
}
_PHASE_COLORS = {
    "starting": "gray",
    "init_process_group": "gray",
    "deepspeed_init": "light-blue",
    "op_compile": "light-blue",
    "data": "yellow",
    "forward": "green",
    "backward": "dark-green",
    "grad_reduce": "orange",
    "zero_gather": "light-orange",
    "optimizer_step": "blue",
    "checkpoint": "purple",
    "report": "light-purple",
    "collective": "dark-orange",
    "user": "dark-yellow",
    "finished": "gray",
    "unknown": "gray",
}
_VERDICT = coded("dsray_verdict", "state", _VERDICTS, select=RUN, by=BY_RUN)
_PHASE = coded("dsray_rank_phase", "phase", PHASES, select=RANK, by=f"{BY_RUN}, rank")
_STATE = coded("dsray_rank_state", "state", _STATES, select=RANK, by=f"{BY_RUN}, rank")
_FINDINGS = f"sum by (kind, severity) (dsray_findings{{{RUN}}}) > 0"
_CULPRITS = with_place(f"dsray_rank_culprit{{{RANK}}}", "hostname", "pid", "gpu_uuid")

_BROKEN = Row(
    question="Is it broken, and whose fault is it?",
    panels=(
        panel(
            *("stat", "Verdict", "The verdict of the newest sample."),
            query(_VERDICT, "verdict"),
            names=names(_VERDICTS, _VERDICT_COLORS),
            unit="none",
            width=6,
            height=5,
        ),
        panel(
            "stat",
            "Since the last step",
            "Seconds since any rank was last seen to complete a global step. It grows from the first second of a hang.",
            query(
                f"time() - max by ({BY_RUN}) (dsray_train_last_step_timestamp_seconds{{{RUN}}})",
                "ago",
            ),
            unit="s",
            width=6,
            height=5,
            no_value="no step so far",
        ),
        panel(
            *("stat", "Ranks", "Workers in the current group, including dead ones."),
            query(f"max by ({BY_RUN}) (dsray_run_ranks{{{RUN}}})", "ranks"),
            unit="none",
            width=6,
            height=5,
        ),
        panel(
            *("stat", "Restarts", "Number of times the worker group was replaced while watched."),
            query(f"max by ({BY_RUN}) (dsray_run_group_restarts_total{{{RUN}}})", "restarts"),
            unit="none",
            width=6,
            height=5,
        ),
        panel(
            *("table", "Findings", "Findings of the newest sample; kind is the code of the cause."),
            query(or_none(_FINDINGS, "kind")),
            width=12,
            unit="none",
        ),
        panel(
            "table",
            "Culprits",
            "The ranks at fault, not those that wait for them, and where they run.",
            query(or_none(_CULPRITS, "kind")),
            width=12,
            unit="none",
        ),
        panel(
            *("timeline", "Verdict over time", "When the verdict changed."),
            query(_VERDICT, "verdict"),
            names=names(_VERDICTS, _VERDICT_COLORS),
            unit="none",
            height=5,
        ),
        panel(
            "timeline",
            "Ray Train's state",
            "The state according to Ray Train's controller; during a hang it says RUNNING.",
            query(during(f"max by ({BY_RUN}, state) (dsray_run_state{{{RUN}}})"), "{{state}}"),
            unit="none",
            height=5,
            names={"1": "yes|blue"},
        ),
    ),
)
_IDLE = Row(
    question="Which ranks are idle, where and since when?",
    panels=(
        panel(
            "timeline",
            "Phase of each rank",
            "Where the training thread of each rank was at each sample.",
            query(during(_PHASE), "rank {{rank}}"),
            names=names(PHASES, _PHASE_COLORS),
            unit="none",
            width=24,
            height=9,
        ),
        panel(
            "timeseries",
            "Idle time of each rank",
            "Seconds since the kernel last ran a rank's training thread. In a hang it grows for the culprit and "
            "for the ranks that wait; see below which is which.",
            query(
                during(f"time() - dsray_rank_last_moved_timestamp_seconds{{{RANK}}}"),
                "rank {{rank}}",
            ),
            unit="s",
        ),
        panel(
            "timeseries",
            "Since the last step, by rank",
            "Seconds since each rank was last seen to complete a global step.",
            query(
                during(f"time() - dsray_train_last_step_timestamp_seconds{{{RANK}}}"),
                "rank {{rank}}",
            ),
            unit="s",
        ),
    ),
)
_WAITS = Row(
    question="Who waits for whom?",
    panels=(
        panel(
            "timeseries",
            "Collectives entered and not left",
            "From the flight recorders of idle ranks. A rank at 0 among ranks at 1 is the one they wait for.",
            query(during(f"dsray_collective_pending{{{RANK}}}"), "rank {{rank}}"),
            unit="none",
            no_value="no rank is idle",
        ),
        panel(
            "timeseries",
            "Time in the oldest of them",
            "Seconds since a rank entered the oldest collective it has not left.",
            query(
                during(f"time() - dsray_collective_pending_since_timestamp_seconds{{{RANK}}}"),
                "rank {{rank}}",
            ),
            unit="s",
            no_value="no rank waits in a collective",
        ),
    ),
)
_PLACES = Row(
    question="On which node, GPU and process is it?",
    panels=(
        panel(
            *("timeline", "State of each rank", "State of its process, from Ray and the kernel."),
            query(during(_STATE), "rank {{rank}}"),
            names=names(_STATES, _STATE_COLORS),
            unit="none",
            width=24,
            height=7,
        ),
        panel(
            "table",
            "Where each rank runs",
            "Node, address, process and first GPU of each rank: where to log in and what to inspect.",
            query(
                f"max by (rank, local_rank, node_rank, hostname, ip, pid, gpu_uuid) (dsray_rank_info{{{RANK}}})"
            ),
            width=24,
            unit="none",
        ),
        panel(
            *("table", "Run details", "Names and versions."),
            query(
                "max by (run_id, run_name, attempt_id, submission_id, ray_job_id, ray_version, deepspeed_version, "
                f"torch_version, zero_stage, dtype) (dsray_run_info{{{RUN}}})"
            ),
            width=24,
            height=5,
            unit="none",
        ),
    ),
)
BOARD = Board(
    uid="dsray-incident",
    title="dsray-inspect / Incident",
    description="Is the run broken, whose fault is it, which ranks are idle, who waits for whom, and where?",
    variables=(CLUSTERS, RUNS, ATTEMPTS, RANKS),
    rows=(_BROKEN, _IDLE, _WAITS, _PLACES),
)
