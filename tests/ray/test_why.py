"""`why` on real jobs: who is to blame for a hang, by the numbers of the flight recorders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ray import processes
from tests.ray.cluster import Cluster
from tests.ray.jobs import Job
from tests.ray.test_serve import check_spans, serving, values
from tests.receiver import attributes, receiving

Document = dict[str, Any]


def explain(cluster: Cluster, job: Job) -> Document:
    done = cluster.inspect("why", job.submission_id, "--json")
    assert done.returncode in (0, 1), done.stderr
    document: Document = json.loads(done.stdout)
    return document


def wait_until_sure(cluster: Cluster, job: Job, cause: str) -> Document:
    """Return the explanation once both of its samples show the cause: a stall takes time."""
    found: list[Document] = []

    def is_sure() -> bool:
        found.append(explain(cluster, job))
        return bool(found[-1]["verdict"]["cause"] == cause and found[-1]["sure"] == "yes")

    job.wait_for(f"the cause {cause}, for sure", is_sure)
    return found[-1]


def hang(cluster: Cluster, fault: str, step: int = 20) -> Job:
    """Start three ranks, of which rank 1 does not come to the step's reduction."""
    job = cluster.submit("--workers", "3", "--fault", fault, "--fault-step", str(step))
    job.wait_until_stuck(after_step=step - 1, ranks=3)
    return job


@pytest.fixture(scope="module")
def sleeping(cluster: Cluster) -> Iterator[Job]:
    """Rank 1 of three sleeps in user code, after enough steps for a past."""
    job = hang(cluster, "sleep", step=60)
    yield job
    job.stop()


def test_names_the_rank_that_sleeps_among_three(cluster: Cluster, sleeping: Job) -> None:
    check_explanation(cluster, sleeping, "rank_blocked_in_user_code", "load_batch")


@pytest.mark.parametrize(
    ("fault", "function"), [("barrier", "load_batch"), ("save", "teach"), ("leave", None)]
)
def test_names_the_rank_that_diverges_among_three(
    cluster: Cluster, fault: str, function: str | None
) -> None:
    job = hang(cluster, fault)

    try:
        check_explanation(cluster, job, "rank_divergence", function)
    finally:
        job.stop()


def check_explanation(cluster: Cluster, job: Job, cause: str, function: str | None) -> None:
    """Rank 1 is the culprit, and ranks 0 and 2 are the victims that wait for it."""
    explanation = wait_until_sure(cluster, job, cause)
    text = cluster.inspect("why", job.submission_id)

    assert explanation["verdict"]["state"] == "hung"
    assert explanation["verdict"]["ranks"] == [1]
    culprit = explanation["culprits"][0]
    assert culprit["pid"] == job.pids()[1]
    assert (culprit["function"] or {}).get("name") == function
    victims = explanation["victims"]
    assert sorted(victim["rank"] for victim in victims) == [0, 2]
    assert {victim["collective"]["operation"] for victim in victims} == {"all_reduce"}
    assert len({victim["collective"]["sequence"] for victim in victims}) == 1
    edges = explanation["graph"]["edges"]
    waiters = {edge["waiter"] for edge in edges if "all_reduce" in edge["awaited"]}
    assert waiters == {"rank 0", "rank 2"}
    # Ranks that diverge wait for one another, so that none of them is a root.
    assert cause != "rank_blocked_in_user_code" or explanation["graph"]["roots"] == ["rank 1"]
    assert 0 < explanation["gives_up_in_s"] <= 1800
    assert text.returncode == 1
    assert len(text.stdout.splitlines()) <= 11, text.stdout
    assert f"pid {job.pids()[1]}" in text.stdout


def test_the_past_of_a_hang_shows_where_it_went_wrong(cluster: Cluster, sleeping: Job) -> None:
    argv = ("trace", sleeping.submission_id, "--past")

    def with_stuck_collective() -> Document | None:
        done = cluster.inspect(*argv, "--json")
        assert done.returncode == 0, done.stderr
        document: Document = json.loads(done.stdout)
        return document if document["summary"]["stuck"] else None

    document = processes.wait_for("the stuck collective", with_stuck_collective, timeout=120)
    assert document is not None
    (stuck,) = document["summary"]["stuck"]
    assert (stuck["ranks"], stuck["missing"]) == ([0, 2], [1])
    assert stuck["operation"] == "all_reduce"
    assert "rank 1 never did" in cluster.inspect(*argv).stdout


def check_trace_of_a_hang(cluster: Cluster, job: Job) -> None:
    """`trace --otlp` also sends a collector the collective that the ranks wait in."""
    with receiving() as collector:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        done = cluster.inspect("trace", job.submission_id, "--past", "--otlp", env=env)

    assert done.returncode == 0, done.stderr
    assert f"accepted {len(collector.spans)} spans" in done.stderr
    check_spans(collector.distinct_spans)
    assert any(
        span.get("dsray.span.open") and "dsray.collective.sequence.id" in span
        for span in (attributes(span.attributes) for span in collector.spans)
    )


def test_serve_names_the_culprit_and_ends_with_the_job(
    cluster: Cluster, sleeping: Job, tmp_path: Path
) -> None:
    """The last test of the sleeping job: it stops it."""
    job = sleeping

    with serving(cluster, tmp_path, job.submission_id) as served:
        samples = served.wait_for(
            "the culprit",
            lambda s: (
                s if values(s, "dsray_rank_culprit", kind="rank_blocked_in_user_code") else None
            ),
        )
        assert values(samples, "dsray_rank_culprit") == {"1": 1}
        assert values(samples, "dsray_verdict", state="hung") == {"": 1}
        assert values(samples, "dsray_collective_pending")["0"] > 0
        check_trace_of_a_hang(cluster, job)
        job.stop()
        served.wait_for(
            "how it ended", lambda s: values(s, "dsray_verdict", state="finished") == {"": 1}
        )
        assert served.process.wait(60) == 0

    lines = served.text("stdout").splitlines()
    assert any("HUNG: Rank 1 has been blocked in load_batch" in line for line in lines), lines
    assert "FINISHED: " in lines[-1]


@pytest.mark.xdist_group("shared jobs")
def test_a_healthy_job_gets_two_lines(cluster: Cluster, healthy_job: Job) -> None:
    job = healthy_job
    job.wait_for(
        "a healthy verdict", lambda: explain(cluster, job)["verdict"]["state"] == "healthy"
    )
    text = cluster.inspect("why", job.submission_id)
    assert text.returncode == 0
    assert text.stdout.startswith("HEALTHY: 2 ranks at step ")
    assert len(text.stdout.splitlines()) == 2
