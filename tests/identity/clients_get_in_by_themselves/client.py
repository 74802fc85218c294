"""The Python MCP client gets itself in: client.py URL USER TOOL ARGUMENTS. It knows nothing but the URL and how to fill in the
forms of a login page. Prints one line of JSON: what it was told, and the token that it got."""

import asyncio
import json
import sys
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlparse

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

CALLBACK = "http://127.0.0.1:1/callback"


class Form(HTMLParser):
    """The first form of a page."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields = None, {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "form" and self.action is None:
            self.action = given["action"]
        if tag == "input" and given.get("name"):
            self.fields[given["name"]] = given.get("value", "")


class Storage:
    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Person:
    """Opens the page that a client asks to open, logs in, consents, and is sent back."""

    def __init__(self, name):
        self.name, self.back, self.asked = name, None, None

    async def open(self, url):
        self.asked = {name: values[0] for name, values in parse_qs(urlparse(url).query).items()}
        async with httpx2.AsyncClient(timeout=60) as browser:
            response = await browser.get(url)
            for _ in range(20):
                if response.is_redirect:
                    url = urljoin(str(response.url), response.headers["location"])
                    if url.startswith(CALLBACK):
                        self.back = {name: values[0] for name, values in parse_qs(urlparse(url).query).items()}
                        return
                    response = await browser.get(url)
                    continue
                form = Form(response.text)
                if form.action is None:
                    raise RuntimeError(f"{response.status_code} and no form: {response.text}")
                filled = {"login": self.name, "password": "any"}
                fields = {name: filled.get(name, value) for name, value in form.fields.items()}
                response = await browser.post(urljoin(str(response.url), form.action), data=fields)
        raise RuntimeError("no end of pages")

    async def result(self):
        if "code" not in self.back:
            raise RuntimeError(f"sent back with {self.back}")
        return AuthorizationCodeResult(code=self.back["code"], state=self.back["state"], iss=self.back.get("iss"))


async def main(url, user, tool, arguments):
    person, storage = Person(user), Storage()
    provider = OAuthClientProvider(
        server_url=url,
        client_metadata=OAuthClientMetadata(
            client_name="airlock-tests", redirect_uris=[CALLBACK], token_endpoint_auth_method="none"
        ),
        storage=storage,
        redirect_handler=person.open,
        callback_handler=person.result,
    )
    async with httpx2.AsyncClient(auth=provider, timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            result = await client.call_tool(tool, json.loads(arguments))
            print(json.dumps({
                "text": result.content[0].text,
                "is_error": bool(result.is_error),
                "asked": person.asked,
                "registered": storage.client.client_id,
                "scope": storage.tokens.scope,
                "token": storage.tokens.access_token,
            }))


asyncio.run(main(*sys.argv[1:]))
