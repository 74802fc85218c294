"""The Python MCP client, as its users use it: client.py URL TOKEN MODE TOOL ARGUMENTS. Prints one line of JSON."""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def main(url, token, mode, tool, arguments):
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            tools = await client.list_tools()
            result = await client.call_tool(tool, json.loads(arguments))
            print(json.dumps({
                "revision": client.protocol_version,
                "tools": [tool.name for tool in tools.tools],
                "text": result.content[0].text,
                "is_error": bool(result.is_error),
            }))


asyncio.run(main(*sys.argv[1:]))
