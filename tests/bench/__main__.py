"""`make bench`: prints ratios side by side, and keeps every sample in build/bench.json."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench import attach, probes, scrape, tui
from tests.bench.results import Result, keep, table
from tests.ray import processes
from tests.ray.cluster import Cluster

Bench = Callable[[Cluster, int], Result | list[Result]]
BENCHES: dict[str, tuple[Bench, int]] = {
    "cold": (attach.cold_attach, 9),
    "warm": (attach.warm_snapshot, 9),
    "pause": (attach.longest_pause, 40),
    "throughput": (attach.throughput, 12),
    "record": (probes.record, 40),
    "step": (probes.traced_step, 12),
    "short-step": (probes.traced_short_step, 8),
    "scrape": (scrape.scrape, 9),
    "screen": (tui.first_screen, 9),
    "ranks": (tui.ten_thousand_ranks, 12),
    "memory": (tui.memory, 1200),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)

    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")

    processes.sweep()
    results: list[Result] = []

    with Cluster(num_cpus=8, num_gpus=8) as cluster:
        attach.prepare(cluster)

        for name in options.names or BENCHES:
            bench, repeats = BENCHES[name]
            found = bench(cluster, repeats)
            new = found if isinstance(found, list) else [found]
            print(table(new), flush=True)
            results += new

    keep(results, options.out)
    print(f"Every sample: {options.out}")
    sys.exit(0 if all(one.held for one in results) else 1)


if __name__ == "__main__":
    main()
