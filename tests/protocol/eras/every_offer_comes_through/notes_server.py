"""A server of the Python SDK that speaks both eras: notes as resources, a prompt, completions, and a tool that tells
which log level the call brought along."""

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    EmptyResult,
    PromptReference,
    ResourceTemplateReference,
    SetLevelRequestParams,
)

DAYS = ["monday", "tuesday", "sunday"]
server = MCPServer(name="notes")


@server.resource("notes://today")
def today() -> str:
    return "rain"


@server.resource("notes://{day}/summary")
def summary(day: str) -> str:
    return f"the summary of {day}"


@server.prompt()
def brief(day: str) -> str:
    return f"Tell me about {day}."


@server.completion()
async def complete(
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion:
    kind = "" if isinstance(ref, PromptReference) else ref.uri + " "
    return Completion(values=[kind + day for day in DAYS if day.startswith(argument.value)])


@server.tool()
def level(ctx: Context) -> str:
    return str((ctx.request_context.meta or {}).get("io.modelcontextprotocol/logLevel"))


async def set_level(ctx, params: SetLevelRequestParams) -> EmptyResult:
    return EmptyResult()


# The SDK has no public way to serve this method.
server._lowlevel_server.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)

server.run(transport="stdio")
