"""A Python client at every server of a plan: python.py PLAN CLIENT, where the client is `mcp` or `fastmcp`."""

import asyncio
import json
import sys


def open_client(kind, url, token):
    """The client, to be entered, for a URL with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    if kind == "fastmcp":
        from fastmcp import Client
        from fastmcp.client.transports import StreamableHttpTransport

        return Client(StreamableHttpTransport(url, headers=headers))
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    http = httpx2.AsyncClient(headers=headers, timeout=60)
    return Client(streamable_http_client(url, http_client=http))


async def visit(kind, plan, server):
    """Lists, calls and reads; one line of JSON."""
    told = {"server": server["name"]}

    async def step(name, expected, work):
        try:
            text = str(await work)
            told[name] = "ok" if expected in text else f"unexpected: {text[:500]}"
        except Exception as error:
            told[name] = repr(error)

    try:
        async with open_client(kind, f"{plan['base']}/{server['name']}", plan["token"]) as client:
            told["revision"] = client.protocol_version
            await step("list", repr(server["tool"]), client.list_tools())
            await step("call", server["expected"], client.call_tool(server["tool"], server["arguments"]))
            if server["uri"]:
                await step("read", server["uri"], client.read_resource(server["uri"]))
    except Exception as error:
        told.setdefault("list", f"no connection: {error!r}")
    print(json.dumps(told), flush=True)


async def main(file, kind):
    with open(file) as opened:
        plan = json.load(opened)
    for server in plan["servers"]:
        await visit(kind, plan, server)


asyncio.run(main(*sys.argv[1:]))
