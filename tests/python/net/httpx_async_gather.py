"""Requests at the same time: httpx, anyio and asyncio's own streams over the host."""

import asyncio
import sys
import urllib.parse

import anyio
import httpx

base = sys.argv[1].rstrip("/")
where = urllib.parse.urlsplit(base)
port = where.port or 80
REQUEST = f"GET /hello HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n".encode()


async def by_httpx():
    async with httpx.AsyncClient(base_url=base, timeout=20) as client:
        # The server answers these only when all of them have come.
        answers = await asyncio.gather(*(client.get("/together?n=5") for _ in range(5)))
        assert [answer.status_code for answer in answers] == [200] * 5
        texts = await asyncio.gather(*(client.get(path) for path in ("/hello", "/gzip", "/chunked", "/big?n=200000")))
        assert texts[0].text == "hello" and len(texts[3].content) == 200000
        sent = (await client.post("/echo", content=b"x" * 100_000)).json()
        assert len(sent["body"]) == 100_000
        try:
            await client.get("/slow?ms=5000", timeout=0.2)
            raise AssertionError("a slow answer must time out")
        except httpx.ReadTimeout:
            pass
        assert (await client.get("/hello")).text == "hello"
        return len(answers)


async def by_streams():
    reader, writer = await asyncio.open_connection(where.hostname, port)
    writer.write(REQUEST)
    await writer.drain()
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


async def by_anyio():
    received = b""
    async with await anyio.connect_tcp(where.hostname, port) as stream:
        await stream.send(REQUEST)
        async for part in stream:
            received += part
    return received


async def main():
    together = await by_httpx()
    both = await asyncio.gather(by_streams(), by_anyio())
    for received in both:
        assert received.startswith(b"HTTP/1.1 200 ") and received.endswith(b"\r\n\r\nhello"), received
    return together


result = {"together": asyncio.run(main())}
