"""`make faults`: run a tool on the suite and print how right it is; see docs/faults.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.faults import catalog, scores, tools
from tests.faults.catalog import Case
from tests.faults.run import Score, run
from tests.faults.tools import Tool
from tests.ray import processes
from tests.ray.cluster import Cluster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CASE", help="beginnings of names; all without")
    parser.add_argument(
        "--tool", default="dsray-inspect", help="or majority-stack, ray-stack, cmd:…"
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="TOOL",
        help="another tool that looks at each job after it; may be repeated",
    )
    parser.add_argument("--jobs", type=int, default=2, help="jobs at once on one cluster")
    parser.add_argument("--seed", type=int, default=1, help="draws rank and step of every fault")
    parser.add_argument("--ci", action="store_true", help="only those that run in CI")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    parser.add_argument("--out", type=Path, default=Path("build/faults.json"))
    options = parser.parse_args()

    try:
        cases = catalog.named(options.names, ci=options.ci)
        asked = {name: tools.tool(name) for name in (options.tool, *options.peer)}
    except LookupError as error:
        parser.error(str(error))

    if options.list:
        for case in cases:
            print(f"{case.name:24}{', '.join(case.causes) or 'healthy':44}{case.needs}")

        return

    processes.sweep()
    found: list[Score] = []

    with Cluster(num_cpus=16, num_gpus=8, warm=True) as cluster:
        for several in run_all(cluster, cases, asked, options):
            found.extend(several)
            print("\n".join(map(scores.line, several)), flush=True)
            scores.keep(found, options.out)

    ours = [one for one in found if one.tool == options.tool]
    print(f"\n{scores.report(found)}\n\nEvery answer: {options.out}")
    sys.exit(0 if all(one.cause_is_right and not one.error for one in ours) else 1)


def run_all(
    cluster: Cluster, cases: list[Case], asked: Mapping[str, Tool], options: argparse.Namespace
) -> Iterable[list[Score]]:
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(run, cluster, case, asked, options.seed): case for case in cases}

        for future in as_completed(running):
            try:
                yield future.result()
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                yield [failed(name, running[future], text) for name in asked]


def failed(tool: str, case: Case, error: str) -> Score:
    return Score(
        tool=tool,
        case=case.name,
        expected=case.causes,
        state="unknown",
        cause=None,
        ranks=(),
        cause_is_right=False,
        culprit_is_right=None,
        seconds=None,
        look_s=0.0,
        looked_at=0.0,
        wrong_on_the_way=(),
        error=error,
    )


if __name__ == "__main__":
    main()
