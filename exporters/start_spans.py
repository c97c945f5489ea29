"""A run's start as spans: the parts of its critical path, one after the other."""

from __future__ import annotations

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.agent.timeline import Process, Span, Timeline

S_IN_NS = 1_000_000_000


def start_timeline(snapshot: Snapshot) -> Timeline | None:
    """Return the start's timeline once it is over, None before that and where it is not known."""
    startup, driver = snapshot.startup, snapshot.driver

    if startup is None or driver is None or startup.until == "now" or not startup.parts:
        return None

    at_ns = round(startup.began_at * S_IN_NS)
    spans = []

    for part in startup.parts:
        end_ns = at_ns + round(part.seconds * S_IN_NS)
        spans.append(Span(name=part.name, kind="startup", process=0, start_ns=at_ns, end_ns=end_ns))
        at_ns = end_ns

    node = next((one for one in snapshot.nodes if one.ip == driver.node_ip), None)
    process = Process(
        role="driver",
        rank=None,
        pid=driver.pid,
        hostname=node.hostname if node else "",
        node_id=node.node_id if node else "",
        node_ip=driver.node_ip,
    )
    return Timeline(
        job=snapshot.job,
        run=snapshot.run,
        processes=(process,),
        spans=tuple(spans),
        notes=startup.notes,
    )
