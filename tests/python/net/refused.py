"""What the host refuses or cannot do reaches each library's own errors, with the host's sentence. `denied.invalid` is no allowed host.

The test's server speaks no TLS: an https request to it must fail, which shows that the host was asked for https.
"""

import asyncio
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request

import httpx
import requests

where = urllib.parse.urlsplit(sys.argv[1])
texts = {}


def expect(name, kinds, action, part="denied.invalid"):
    try:
        action()
    except kinds as error:
        texts[name] = f"{type(error).__module__}.{type(error).__name__}: {error}"
        assert part in texts[name], texts[name]
        return error
    raise AssertionError(f"{name}: nothing was refused")


async def by_httpx(url):
    async with httpx.AsyncClient() as client:
        await client.get(url)


async def by_streams():
    reader, writer = await asyncio.open_connection("denied.invalid", 80)
    writer.write(b"GET / HTTP/1.1\r\nHost: denied.invalid\r\n\r\n")
    await reader.read()


def by_socket():
    with socket.create_connection(("denied.invalid", 80)) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: denied.invalid\r\n\r\n")
        stream.recv(1000)


def by_each(name, url, part):
    expect(f"urllib {name}", urllib.error.URLError, lambda: urllib.request.urlopen(url, timeout=5), part)
    expect(f"requests {name}", requests.ConnectionError, lambda: requests.get(url, timeout=5), part)
    expect(f"httpx {name}", httpx.ConnectError, lambda: httpx.get(url, timeout=5), part)
    expect(f"httpx async {name}", httpx.ConnectError, lambda: asyncio.run(by_httpx(url)), part)


by_each("http", "http://denied.invalid/", "denied.invalid")
by_each("https", "https://denied.invalid/", "denied.invalid")
by_each("no TLS", f"https://{where.hostname}:{where.port}/hello", "")
error = expect("socket", ConnectionRefusedError, by_socket)
assert error.toolgate_code == "EGRESS_DENIED", error.toolgate_code
expect("asyncio", OSError, lambda: asyncio.run(by_streams()))

result = texts
