"""Record a real hang from before it begins: the looks of a whole incident, as JSON Lines.

    python -m tests.golden.window > tests/golden/windows/hang.jsonl

Starts a cluster and a job of three ranks of its own; rank 1 falls asleep at step 20. Run it with
the Python that the job runs with. `make screenshots` draws the pictures of the README from it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.golden.scrub import scrub
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job
from tests.ray.processes import BIN

AFTER_STEP = 4
HUNG_LOOKS = 10
MOST_LOOKS = 80
LIMIT_S = 900.0


def main() -> None:
    with Cluster(num_cpus=8, num_gpus=4) as cluster:
        words = ("--workers", "3", "--gpus", "1", "--fault", "sleep", "--step-sleep-s", "0.5")
        job = cluster.submit(*words, submission_id="j47")
        job.wait_until_step(0, AFTER_STEP, timeout=LIMIT_S)

        for look in looks(cluster, job):
            print(json.dumps(scrub(look), ensure_ascii=False), flush=True)

        job.stop()


def looks(cluster: Cluster, job: Job) -> Iterator[dict[str, Any]]:
    """Yield looks until the hang has been seen so many times."""
    argv = ("attach", job.submission_id, "--address", cluster.address, "--follow")
    reader = subprocess.Popen(
        (str(BIN / "dsray-inspect"), *argv),
        env=cluster.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert reader.stdout is not None
    hung = 0

    with reader.stdout:
        for number, line in enumerate(reader.stdout):
            look = json.loads(line)
            hung += look.get("verdict", {}).get("state") == "hung"

            if "verdict" in look:
                yield look

            if hung >= HUNG_LOOKS or number >= MOST_LOOKS:
                break

    reader.wait()


if __name__ == "__main__":
    main()
