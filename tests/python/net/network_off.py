"""Run without the network: each library says what to ask for."""

import asyncio
import http.client
import socket
import sys
import urllib.error
import urllib.request

OFF = "the network is off: call python.run with allow_network true and allowed_hosts"
texts = {}


def expect(name, kinds, action):
    try:
        action()
    except kinds as error:
        texts[name] = f"{type(error).__name__}: {error}"
        assert OFF in texts[name], texts[name]
        return
    raise AssertionError(f"{name}: nothing was refused")


async def by_httpx():
    async with httpx.AsyncClient() as client:
        await client.get("https://example.com/")


expect("socket", ConnectionRefusedError, lambda: socket.create_connection(("example.com", 80)))
expect("http.client", OSError, lambda: http.client.HTTPSConnection("example.com").request("GET", "/"))
expect("urllib", urllib.error.URLError, lambda: urllib.request.urlopen("http://example.com/"))
expect("asyncio", OSError, lambda: asyncio.run(asyncio.open_connection("example.com", 443, ssl=True)))
if "packages" in sys.argv[1:]:
    import httpx
    import requests

    expect("requests", requests.ConnectionError, lambda: requests.get("https://example.com/"))
    expect("httpx", httpx.ConnectError, lambda: httpx.get("https://example.com/"))
    expect("httpx async", httpx.ConnectError, lambda: asyncio.run(by_httpx()))

result = texts
