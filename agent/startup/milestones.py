"""The moments of a run's start that the processes of a submitted job have recorded themselves.

All times are Unix nanoseconds. The clocks are those of the nodes where things happened.
"""

from __future__ import annotations

from collections.abc import Sequence

from dsray_inspect.agent.launchers.start import Milestones
from dsray_inspect.agent.startup.ranks import RankStart


def from_records(
    driver: RankStart | None, controller: RankStart | None, ranks: Sequence[RankStart]
) -> Milestones:
    """Return the moments that the processes of a submitted job have recorded themselves."""
    joins = [span for rank in ranks if (span := rank.find("rendezvous")) is not None]
    joined = [span.end_ns for span in joins]
    begun = [rank.trained_ns for rank in ranks]
    groups = (
        [span.start_ns for span in controller.spans if span.name == "group_asked"]
        if controller
        else []
    )
    fit = driver.find("fit") if driver else None
    run = controller.find("controller") if controller else None
    return Milestones(
        fit_ns=fit.start_ns if fit else None,
        controller_ns=run.start_ns if run else None,
        group_asked_ns=groups[-1] if groups else None,
        join_ns=min((span.start_ns for span in joins), default=None),
        joined_ns=max(filter(None, joined), default=None) if all(joined) else None,
        trained_ns=max(filter(None, begun), default=None) if all(begun) else None,
        restart=len(groups) > 1,
    )
