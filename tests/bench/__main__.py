"""`make bench`: prints ratios side by side, and keeps every sample in build/bench.json."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.bench import agent, attach, probes, ranks_real, scale, scrape, traceml, tui
from tests.bench.results import LeftOut, Result, keep, table
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
ALONE: dict[str, tuple[Callable[[int], list[Result]], int]] = {
    "scale": (scale.emulated_ranks, 5),
    "ranks-real": (ranks_real.real_ranks, 7),
    "traceml": (traceml.added_to_a_step, 5),
    "agent": (agent.budget, 6),
}
"""What needs no cluster, or brings its own."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join([*BENCHES, *ALONE])}"
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    everything = [*BENCHES, *ALONE]
    unknown = set(options.names) - set(everything)

    if unknown:
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(everything)}"
        )

    names = options.names or everything
    results: list[Result] = []

    for name in (name for name in names if name in ALONE):
        alone, repeats = ALONE[name]
        results += shown(name, partial(alone, repeats))

    if any(name in BENCHES for name in names):
        results += on_a_cluster([name for name in names if name in BENCHES])

    keep(results, options.out)
    print(f"Every sample: {options.out}")
    sys.exit(0 if all(result.held for result in results) else 1)


def on_a_cluster(names: Sequence[str]) -> list[Result]:
    processes.sweep()
    results: list[Result] = []

    with Cluster(num_cpus=8, num_gpus=8) as cluster:
        attach.prepare(cluster)

        for name in names:
            bench, repeats = BENCHES[name]
            results += shown(name, partial(bench, cluster, repeats))

    return results


def shown(name: str, bench: Callable[[], Result | list[Result]]) -> list[Result]:
    """Run a benchmark and print what it found; one that is left out says why."""
    try:
        found = bench()
    except LeftOut as why:
        print(f"{name} is left out. {why}", file=sys.stderr, flush=True)
        return []

    results = found if isinstance(found, list) else [found]
    print(table(results), flush=True)
    return results


if __name__ == "__main__":
    main()
