"""What a scrape costs with many ranks: emulated ones, through the real HTTP server."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import msgspec

from dsray_inspect.agent.model import Snapshot
from dsray_inspect.exporters.bind import BindAddress
from dsray_inspect.exporters.endpoint import Endpoint
from dsray_inspect.exporters.latest_sample import LatestSample
from dsray_inspect.exporters.prometheus import Collector, registry
from tests.bench.attach import timed_ms
from tests.bench.results import Result
from tests.ray.cluster import Cluster
from tests.unit.snapshots import changed, many_ranks

RANKS = 1024
LIMIT_MS = 1000.0
GOLDEN = Path(__file__).parents[1] / "golden" / "snapshots" / "hung.json"


def scrape(_cluster: Cluster, repeats: int) -> Result:
    """Scrape 1,024 ranks; the limit is a second, a tenth of Prometheus's own default."""
    look = many_ranks(msgspec.json.decode(GOLDEN.read_bytes(), type=Snapshot), RANKS)
    board = LatestSample()
    sizes: list[int] = []
    own = registry(Collector(board))

    with Endpoint(BindAddress(host="127.0.0.1", port=0), own, token=None, towards="") as endpoint:

        def get() -> None:
            with urllib.request.urlopen(f"http://{endpoint.target}/metrics", timeout=60) as answer:
                body = answer.read()

            sizes[:] = [len(body), body.count(b"\n") - 2 * body.count(b"# HELP")]

        samples = []

        for number in range(repeats):
            board.put(changed(look, number))
            samples.append(timed_ms(get))

    return Result(
        name=f"scrape of {RANKS} ranks",
        ours="GET /metrics",
        theirs="the limit",
        unit="ms",
        our_samples=samples,
        their_samples=[LIMIT_MS],
        limit=1.0,
        notes=[f"{sizes[1]} series, {sizes[0] / 1e6:.1f} MB"],
    )
