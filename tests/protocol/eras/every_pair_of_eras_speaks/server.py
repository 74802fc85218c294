"""A server of both eras that says and asks all that a server can: server.py [SOCKET]. Standard output without a socket."""

import sys
from typing import Annotated

import uvicorn
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, MCPServer, Resolve, Sample
from mcp.types import CreateMessageResult, SamplingMessage, TextContent
from pydantic import BaseModel

server = MCPServer("four-ways")
notes = ["first"]


class Name(BaseModel):
    name: str


def name():
    return Elicit("who are you?", Name)


def poem():
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text="a poem"))], max_tokens=50)


@server.tool()
async def greet(answer: Annotated[ElicitationResult[Name], Resolve(name)]) -> str:
    return f"good morning, {answer.data.name}" if answer.action == "accept" else f"you {answer.action}"


@server.tool()
async def recite(
    answer: Annotated[ElicitationResult[Name], Resolve(name)],
    lines: Annotated[CreateMessageResult, Resolve(poem)],
) -> str:
    return f"{lines.content.text}, by {answer.data.name}"


@server.tool()
async def speak(ctx: Context) -> str:
    await ctx.debug("mumbled")
    await ctx.warning("said aloud")
    return "spoken"


@server.tool()
async def grow(ctx: Context) -> str:
    """Adds a tool, and tells."""
    number = len(notes)
    notes.append("another")
    server.add_tool(lambda: "new", name=f"grown_{number}")
    if ctx.protocol_version >= "2026-07-28":
        await ctx.notify_tools_changed()
    else:
        await ctx.session.send_tool_list_changed()
    return f"grown_{number}"


@server.tool()
async def write(ctx: Context, text: str) -> str:
    """Changes the note, and tells."""
    notes.append(text)
    if ctx.protocol_version >= "2026-07-28":
        await ctx.notify_resource_updated("note://last")
    else:
        await ctx.session.send_resource_updated("note://last")
    return "written"


@server.resource("note://last")
def last() -> str:
    return notes[-1]


async def nothing(ctx, params):
    from mcp.types import EmptyResult

    return EmptyResult()


def legacy_handlers():
    from mcp.types import SetLevelRequestParams, SubscribeRequestParams, UnsubscribeRequestParams

    low = server._lowlevel_server
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, nothing)
    low.add_request_handler("resources/subscribe", SubscribeRequestParams, nothing)
    low.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, nothing)


legacy_handlers()
if len(sys.argv) > 1:
    uvicorn.run(server.streamable_http_app(), uds=sys.argv[1], log_level="warning")
else:
    server.run(transport="stdio")
