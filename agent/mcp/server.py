"""Speaks the Model Context Protocol on stdin and stdout: the only module that needs its SDK."""

from __future__ import annotations

import functools
from importlib.metadata import version

import anyio
import msgspec
from anyio import to_thread
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from dsray_inspect.agent.mcp.answerer import Answerer
from dsray_inspect.agent.mcp.calls import ToolCall, ToolReply
from dsray_inspect.agent.mcp.tools import INSTRUCTIONS, TOOLS, ToolSpec

_NAME = "dsray-inspect"


def serve(answerer: Answerer) -> None:
    """Serve one client until it closes our stdin."""
    anyio.run(_serve, answerer)


async def _serve(answerer: Answerer) -> None:
    async def call_tool(
        _context: ServerRequestContext[dict[str, object]], params: CallToolRequestParams
    ) -> CallToolResult:
        given = msgspec.Raw(msgspec.json.encode(params.arguments or {}))
        call = functools.partial(answerer.call, ToolCall(tool=params.name, arguments=given))
        return _result(await to_thread.run_sync(call, abandon_on_cancel=True))

    server = Server(
        _NAME,
        version=version("dsray-inspect"),
        title="dsray-inspect",
        instructions=INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=call_tool,
    )

    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def _list_tools(
    _context: ServerRequestContext[dict[str, object]], _params: PaginatedRequestParams | None
) -> ListToolsResult:
    return ListToolsResult(tools=[_tool(spec) for spec in TOOLS])


def _tool(spec: ToolSpec) -> Tool:
    return Tool(
        name=spec.name,
        title=spec.title,
        description=spec.description,
        input_schema=spec.input_schema(),
        output_schema=spec.output_schema(),
        annotations=ToolAnnotations(
            title=spec.title,
            read_only_hint=True,
            destructive_hint=False,
            idempotent_hint=True,
            # What it answers was written by others: a client may treat it as it treats the web.
            open_world_hint=True,
        ),
    )


def _result(reply: ToolReply) -> CallToolResult:
    """Return an answer as text and, where it is one that the tool's schema describes, as data."""
    text = TextContent(type="text", text=bytes(reply.document).decode())
    document = None if reply.is_error else msgspec.json.decode(reply.document)
    return CallToolResult(content=[text], structured_content=document, is_error=reply.is_error)
