"""The Python client does all that a server may ask of it, and hears all that it says: client.py URL TOKEN MODE.

Prints one line of JSON: what each step gave."""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CreateMessageResult, ElicitResult, TextContent


async def main(url, token, mode, action):
    asked, logged, heard = [], [], asyncio.Queue()

    async def elicit(context, params):
        asked.append(params.message)
        if action == "accept":
            return ElicitResult(action="accept", content={"name": "Ada"})
        return ElicitResult(action=action)

    async def sample(context, params):
        asked.append(params.messages[0].content.text)
        text = TextContent(type="text", text="roses are red")
        return CreateMessageResult(role="assistant", content=text, model="none")

    async def log(params):
        logged.append([params.level, params.data])

    async def message(message):
        method = getattr(message, "method", None)
        if method:
            await heard.put([method, str(getattr(message.params, "uri", ""))])

    async def until(method, uri=""):
        """Waits for a notification; the test that runs this has a deadline."""
        while True:
            got = await heard.get()
            if got[0] == method and (not uri or got[1] == uri):
                return got

    headers = {"Authorization": f"Bearer {token}"}
    told = {}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with Client(
            streamable_http_client(url, http_client=http),
            mode=mode,
            elicitation_callback=elicit,
            sampling_callback=sample,
            logging_callback=log,
            log_level="info" if mode != "legacy" else None,
            message_handler=message,
        ) as client:
            told["revision"] = client.protocol_version
            told["tools"] = [tool.name for tool in (await client.list_tools()).tools]
            prefix = "asker__" if "asker__greet" in told["tools"] else ""
            uri = (await client.list_resources()).resources[0].uri

            async def call(tool, arguments=None):
                result = await client.call_tool(prefix + tool, arguments or {})
                return result.content[0].text

            told["greet"] = await call("greet")
            if action == "accept":
                told["recite"] = await call("recite")
            if mode == "legacy":
                await client.set_logging_level("info")
            told["speak"] = await call("speak")
            told["uri"] = str(uri)
            if mode == "legacy":
                await client.subscribe_resource(str(uri))
                await call("write", {"text": "second"})
                told["updated"] = await until("notifications/resources/updated", str(uri))
                await call("grow")
                told["changed"] = await until("notifications/tools/list_changed")
            else:
                async with client.listen(tools_list_changed=True, resource_subscriptions=[str(uri)]) as events:
                    await call("write", {"text": "second"})
                    told["updated"] = repr(await anext(aiter(events)))
                    await call("grow")
                    told["changed"] = repr(await anext(aiter(events)))
            told["read"] = (await client.read_resource(str(uri))).contents[0].text
            told["grown"] = len((await client.list_tools()).tools) - len(told["tools"])
    told["asked"], told["logged"] = asked, logged
    print(json.dumps(told))


asyncio.run(main(*sys.argv[1:]))
