"""`mcp` on a job that hangs: the SDK's real client asks, and the job does not notice."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.types import TextContent

from tests.ray.cluster import Cluster
from tests.ray.jobs import Job
from tests.ray.processes import BIN
from tests.ray.scenarios import PLANTED

Document = dict[str, Any]
Ask = Callable[..., Awaitable[Document]]
EVERY_S = "2"


def talk(cluster: Cluster, use: Callable[[Ask], Awaitable[Any]], *args: str) -> Any:
    """Start a server on the cluster, and ask it what `use` asks."""
    words = ["mcp", "--address", cluster.address, "--every", EVERY_S, *args]

    async def run() -> Any:
        server = StdioServerParameters(
            command=str(BIN / "dsray-inspect"), args=words, env=cluster.env
        )

        async with Client(stdio_client(server)) as client:

            async def ask(tool: str, **given: Any) -> Document:
                result = await client.call_tool(tool, given)
                (content,) = result.content
                assert isinstance(content, TextContent)
                document: Document = json.loads(content.text)
                return document

            return await use(ask)

    return anyio.run(run)


@pytest.fixture(scope="module")
def answers(cluster: Cluster, hung_job: Job) -> dict[str, Document]:
    """What the tools answer of one sample, and of the rank to blame with its locals and log."""

    async def use(ask: Ask) -> dict[str, Document]:
        jobs = await ask("list_jobs")
        why = await ask("why", job=hung_job.submission_id)
        sample = {"sample": why["sample"]["id"]}
        found = {tool: await ask(tool, **sample) for tool in ("ranks", "stacks", "env_diff")}
        detail = {"ranks": [1], "locals": True, "log_lines": 20}
        return found | {
            "list_jobs": jobs,
            "why": why,
            "history": await ask("history", **sample),
            "detail": await ask("stacks", **sample, **detail),
            "evidence": await ask("evidence", id=f"{why['sample']['id']}:f0"),
            "nobody": await ask("why", job="no-such-job"),
        }

    found: dict[str, Document] = talk(cluster, use, "--locals")
    return found


def test_the_verdict_is_that_of_why(
    cluster: Cluster, hung_job: Job, answers: dict[str, Document]
) -> None:
    live = json.loads(cluster.inspect("why", hung_job.submission_id, "--json").stdout)
    why = answers["why"]
    assert why["verdict"]["state"] == live["verdict"]["state"] == "hung"
    assert why["verdict"]["cause"] == live["verdict"]["cause"]
    assert [one["rank"] for one in why["culprits"]] == live["verdict"]["ranks"] == [1]
    assert why["culprits"][0]["pid"] == hung_job.pids()[1]
    assert why["waiting"][0]["ranks"] == "0"
    assert why["does_not_prove"]


def test_all_answers_are_about_that_sample(hung_job: Job, answers: dict[str, Document]) -> None:
    ids = {answers[tool]["sample"]["id"] for tool in ("why", "ranks", "stacks", "env_diff")}
    assert ids == {"s1.1"}
    assert answers["ranks"]["ranks"][0]["rank"] == 1
    first = answers["stacks"]["stacks"][0]
    assert (first["ranks"], first["untrusted"]["frames"][0].split()[0]) == ("1", "load_batch")
    assert "RANK" in {one["untrusted"]["name"] for one in answers["env_diff"]["expected"]}
    assert answers["history"]["before"]["steps"] > 0
    assert answers["evidence"]["items"]
    jobs = [one["untrusted"]["job"] for one in answers["list_jobs"]["runs"]]
    assert hung_job.submission_id in jobs
    assert answers["nobody"]["error"] == "not_found"


def test_locals_and_logs_are_there_without_secrets(answers: dict[str, Document]) -> None:
    detail = answers["detail"]
    frames = detail["stacks"][0]["untrusted"]["frames"]
    assert "| rank = 1" in frames
    assert any(one["untrusted"].get("lines") for one in detail["logs"])
    text = json.dumps(answers)
    assert [planted for planted in PLANTED if planted in text] == []


def test_without_injection_it_still_names_the_rank(cluster: Cluster, hung_job: Job) -> None:
    async def use(ask: Ask) -> tuple[Document, Document]:
        why = await ask("why", job=hung_job.submission_id)
        return why, await ask("stacks", sample=why["sample"]["id"], ranks=[1], locals=True)

    why, refused = talk(cluster, use, "--no-inject")
    assert why["verdict"]["ranks"] == "1"
    assert refused["error"] == "usage"


def test_a_recorded_file_gives_the_same_verdict(
    cluster: Cluster, hung_job: Job, answers: dict[str, Document], tmp_path: Path
) -> None:
    path = tmp_path / "hang.dsray"
    done = cluster.inspect("record", hung_job.submission_id, "-o", str(path), "--seconds", "2")
    assert done.returncode == 0, done.stderr

    async def use(ask: Ask) -> Document:
        opened = await ask("open_incident", path="hang.dsray")
        return await ask("why", incident=opened["handle"])

    filed = talk(cluster, use, "--incidents", str(tmp_path))
    live = answers["why"]
    assert filed["sample"]["source"] == "incident"
    for key in ("state", "cause", "ranks"):
        assert filed["verdict"][key] == live["verdict"][key]
