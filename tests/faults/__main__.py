"""`make faults`: run a tool on the suite and print how right it is; see docs/faults.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.faults import catalog, scores, tools
from tests.faults.catalog import Case
from tests.faults.run import Score, run
from tests.ray import processes
from tests.ray.cluster import Cluster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CASE", help="beginnings of names; all without")
    parser.add_argument(
        "--tool", default="dsray-inspect", help="or majority-stack, ray-stack, cmd:…"
    )
    parser.add_argument("--jobs", type=int, default=2, help="jobs at once on one cluster")
    parser.add_argument("--seed", type=int, default=1, help="draws rank and step of every fault")
    parser.add_argument("--ci", action="store_true", help="only those that run in CI")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    parser.add_argument("--out", type=Path, default=Path("build/faults.json"))
    options = parser.parse_args()

    try:
        cases, tool = catalog.named(options.names, ci=options.ci), tools.tool(options.tool)
    except LookupError as error:
        parser.error(str(error))

    if options.list:
        for case in cases:
            print(f"{case.name:24}{', '.join(case.causes) or 'healthy':44}{case.needs}")

        return

    processes.sweep()
    found: list[Score] = []

    with Cluster(num_cpus=16, num_gpus=8) as cluster:
        for score in run_all(cluster, cases, tool, options):
            found.append(score)
            print(scores.line(score), flush=True)
            scores.keep(found, options.tool, options.out)

    print(f"\n{scores.report(found)}\n\nEvery answer: {options.out}")
    sys.exit(0 if all(one.cause_is_right and not one.error for one in found) else 1)


def run_all(
    cluster: Cluster, cases: list[Case], tool: tools.Tool, options: argparse.Namespace
) -> Iterable[Score]:
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(run, cluster, case, tool, options.seed): case for case in cases}

        for future in as_completed(running):
            case = running[future]

            try:
                yield future.result()
            except Exception as error:
                yield failed(case, f"{type(error).__name__}: {error}")


def failed(case: Case, error: str) -> Score:
    return Score(
        case=case.name,
        expected=case.causes,
        state="unknown",
        cause=None,
        ranks=(),
        cause_is_right=False,
        culprit_is_right=None,
        seconds=None,
        look_s=0.0,
        wrong_on_the_way=(),
        error=error,
    )


if __name__ == "__main__":
    main()
