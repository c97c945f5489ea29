"""What each tool can be asked: the schemas that agents see, and what calls are checked against."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from dsray_inspect.agent.model import Record

MOST_RANKS: Final = 16
"""How many ranks one call can name."""
MOST_LOG_LINES: Final = 100

_Name = Annotated[str, Meta(max_length=200)]
Job = Annotated[
    _Name,
    Meta(description="Submission id, Ray job id, run id or run name; empty: the only running one."),
]
Incident = Annotated[
    _Name, Meta(description="Handle of an incident file, such as i1, instead of a live job.")
]
SampleId = Annotated[
    _Name,
    Meta(description="Id of a sample in an earlier answer, to look at that same moment again."),
]
Ranks = Annotated[
    tuple[Annotated[int, Meta(ge=0)], ...],
    Meta(max_length=MOST_RANKS, description=f"Only these ranks, at most {MOST_RANKS}."),
]


class ListJobsArguments(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ended: Annotated[bool, Meta(description="Include jobs that ended or have no run.")] = False


class WhyArguments(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    job: Job = ""
    incident: Incident = ""
    sample: SampleId = ""


class RanksArguments(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    job: Job = ""
    incident: Incident = ""
    sample: SampleId = ""
    ranks: Ranks = ()


class StacksArguments(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    job: Job = ""
    incident: Incident = ""
    sample: SampleId = ""
    ranks: Ranks = ()
    locals: Annotated[
        bool, Meta(description="Also local variables; needs ranks, at most 4, and pauses these.")
    ] = False
    log_lines: Annotated[
        int,
        Meta(ge=0, le=MOST_LOG_LINES, description="Also the end of each log file; needs ranks."),
    ] = 0


class EnvDiffArguments(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    job: Job = ""
    incident: Incident = ""
    sample: SampleId = ""
    name: Annotated[
        _Name, Meta(description="Only variables whose names contain this, also equal ones.")
    ] = ""


class HistoryArguments(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    job: Job = ""
    incident: Incident = ""
    sample: SampleId = ""


class OpenIncidentArguments(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: Annotated[
        str, Meta(min_length=1, max_length=1000, description="A file that list_jobs names.")
    ]


class EvidenceArguments(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1, max_length=60, description="An id in an earlier answer.")]
    skip: Annotated[int, Meta(ge=0, description="How many items to pass over, to read on.")] = 0
