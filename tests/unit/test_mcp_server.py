"""The MCP server as clients start it: the real command, the SDK's real client, over stdio."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.types import CallToolResult, TextContent, Tool

from dsray_inspect.agent.cli import group
from dsray_inspect.agent.errors import ExitCode, UsageError
from dsray_inspect.agent.mcp.tools import INSTRUCTIONS, TOOLS
from tests.docs.pages import blocks

BIN = Path(sys.executable).parent
PAGE = "docs/commands/mcp.md"
NO_CLUSTER = {"RAY_ADDRESS": "127.0.0.1:1"}
BEGIN = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
Use = Callable[[Client], Awaitable[Any]]


def talk(use: Use, *args: str, command: str = str(BIN / "dsray-inspect")) -> Any:
    """Start a server, let a client use it, and end it as a client does."""

    async def run() -> Any:
        server = StdioServerParameters(command=command, args=list(args), env=NO_CLUSTER)

        async with Client(stdio_client(server)) as client:
            return await use(client)

    return anyio.run(run)


def document_of(result: CallToolResult) -> Any:
    """Return an answer, which is the same as text and as data."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    document = json.loads(content.text)
    assert result.is_error or document == result.structured_content
    return document


def test_a_client_asks_about_a_file(folder: Path) -> None:
    async def use(client: Client) -> tuple[list[Tool], str | None, list[CallToolResult]]:
        tools = (await client.list_tools()).tools
        # The client checks each answer against the schema that the tool has listed.
        calls: tuple[tuple[str, dict[str, Any]], ...] = (
            ("list_jobs", {}),
            ("open_incident", {"path": "hang.dsray"}),
            ("why", {"incident": "i1"}),
            ("ranks", {"incident": "i1"}),
            ("stacks", {"incident": "i1", "ranks": [1], "log_lines": 5}),
            ("env_diff", {"incident": "i1"}),
            ("history", {"incident": "i1"}),
            ("evidence", {"id": "i1.2:r1"}),
            ("why", {}),
            ("open_incident", {"path": "../hang.dsray"}),
        )
        return tools, client.instructions, [await client.call_tool(*call) for call in calls]

    tools, instructions, results = talk(use, "mcp", "--incidents", str(folder))
    assert [tool.name for tool in tools] == [spec.name for spec in TOOLS]
    assert instructions == INSTRUCTIONS

    for tool in tools:
        assert tool.annotations is not None
        assert (tool.annotations.read_only_hint, tool.annotations.destructive_hint) == (True, False)
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False

    assert [result.is_error for result in results] == [False] * 8 + [True] * 2
    documents = [document_of(result) for result in results]
    assert documents[2]["verdict"]["cause"] == "rank_blocked_in_user_code"
    assert documents[8]["error"] == "cluster_unreachable"
    assert documents[9]["error"] == "usage"


def configurations() -> list[dict[str, Any]]:
    """Return the servers that the page's configuration files start."""
    found = []

    for block in blocks(PAGE):
        if block.language == "json" and block.example is None:
            (servers,) = json.loads(block.body).values()
            server = servers["dsray-inspect"]
            found += [server] if server["command"] == "dsray-inspect" else []

    return found


@pytest.mark.parametrize("number", range(2))
def test_the_configurations_of_the_page_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    server = configurations()[number]
    args = [re.sub(r"/data/incidents", str(folder), word) for word in server["args"]]
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin")
    assert shutil.which(server["command"])

    async def use(client: Client) -> CallToolResult:
        return await client.call_tool("open_incident", {"path": "hang.dsray"})

    assert document_of(talk(use, *args, command=server["command"]))["handle"] == "i1"
    assert len(configurations()) == 2


def test_stdout_has_nothing_but_the_protocol_and_the_process_ends_with_it(folder: Path) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "open_incident", "arguments": {"path": "hang.dsray"}},
    }
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    argv = [str(BIN / "dsray-inspect"), "mcp", "--incidents", str(folder)]

    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("".join(json.dumps(one) + "\n" for one in (BEGIN, ready, call)))
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in range(2)]
        rest, said = server.communicate(timeout=30)

    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[1]["result"]["structuredContent"]["handle"] == "i1"
    assert (rest, said, server.returncode) == ("", "", 0)


def test_a_signal_ends_it(folder: Path) -> None:
    argv = [str(BIN / "dsray-inspect"), "mcp", "--incidents", str(folder)]

    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(BEGIN) + "\n")
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["id"] == 1
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--incidents", "gone"), "gone cannot be opened: No such file or directory"),
        (("gone.dsray",), "gone.dsray cannot be opened: No such file or directory"),
        (("--json",), "has no other format"),
    ],
)
def test_what_cannot_be_served_is_told_at_once(
    args: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match=message) as caught:
        group.main(("mcp", *args), standalone_mode=False)

    assert caught.value.help_text


def test_without_the_sdk_one_sentence_says_what_to_install() -> None:
    hidden = "import sys; sys.modules['mcp'] = None\nimport importlib.metadata as m\n"
    hidden += "real = m.version\ndef version(name):\n"
    hidden += "    if name == 'mcp': raise m.PackageNotFoundError(name)\n    return real(name)\n"
    hidden += "m.version = version\nfrom dsray_inspect.agent.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "mcp"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: mcp needs the package mcp, which is not installed.\n"
        "  pip install 'dsray-inspect[mcp]'\n"
    )
