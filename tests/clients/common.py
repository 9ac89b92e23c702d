"""What the client tests share: connecting in one protocol generation, calling tools, checking, and one line for each thing that held.

A test is a script with a coroutine `scenario(session)`. It is run as `script.py [--http] [--mode MODE]… COMMAND [ARGUMENT…]`, where the
command starts the server on standard input and output, or with `--http` on a free port; it is started anew for each mode. Exit code 0 means
that everything held.
"""

import argparse
import asyncio
import contextlib
import json
import pathlib
import subprocess
import sys
import time
import traceback

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.exceptions import MCPError

# What the client is told to do, and the protocol version that must come of it.
MODES = {"legacy": "2025-11-25", "auto": "2026-07-28", "2026-07-28": "2026-07-28"}

# The first call may find the sandbox still being compiled.
ANSWER_WITHIN_S = 180


class Failed(Exception):
    """Something did not hold."""


class Session:
    """A connected client that says what held."""

    def __init__(self, client: Client, mode: str):
        self.client = client
        self.mode = mode

    @property
    def is_modern(self) -> bool:
        return MODES[self.mode] >= "2026-07-28"

    def check(self, holds, what: str, seen=None):
        """Says that something holds, or fails and shows what was seen instead."""
        if not holds:
            shown = json.dumps(seen, default=str)[:2000]
            raise Failed(f"{what}\n  seen: {shown}")
        print(f"PASS [{self.mode}] {what}", flush=True)

    async def call(self, tool: str, arguments: dict, **options):
        """Calls a tool and gives its whole result."""
        return await self.client.call_tool(tool, arguments, read_timeout_seconds=ANSWER_WITHIN_S, **options)

    async def use(self, tool: str, arguments: dict) -> dict:
        """Calls a tool that must succeed and gives its structured answer, which must be mirrored as text."""
        result = await self.call(tool, arguments)
        if result.is_error:
            raise Failed(f"{tool} {json.dumps(arguments)[:500]} failed\n  seen: {result.structured_content}")
        if json.loads(result.content[0].text) != result.structured_content:
            raise Failed(f"{tool}: the text is not the structured answer")
        return result.structured_content

    async def refusal(self, tool: str, arguments: dict) -> dict:
        """Calls a tool that must answer with an error, and gives that error."""
        result = await self.call(tool, arguments)
        if not result.is_error:
            raise Failed(f"{tool} {json.dumps(arguments)[:500]} should have failed\n  seen: {result.structured_content}")
        error = result.structured_content["error"]
        if not result.content[0].text.startswith(f"{error['code']}: {error['message']}"):
            raise Failed(f"{tool}: the text does not say the error\n  seen: {result.content[0].text}")
        return error

    async def protocol_error(self, request) -> MCPError:
        """Awaits a request that must be answered with a protocol error."""
        try:
            answer = await request
        except MCPError as error:
            return error
        raise Failed(f"a protocol error was due\n  seen: {answer}")

    async def resource(self, uri: str) -> str:
        """The text of a resource."""
        result = await self.client.read_resource(uri)
        return result.contents[0].text


@contextlib.asynccontextmanager
async def over_http(command: list[str], ended: list[float]):
    """A server on a free port, and the way to it. What it logs tells where it is and where its token lies."""
    server = subprocess.Popen([*command, "--http", "127.0.0.1:0"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        while not lines or "token_file" not in lines[-1]:
            lines.append(await asyncio.to_thread(server.stderr.readline))
            if not lines[-1]:
                raise Failed("the server does not serve\n  said: " + "".join(lines))
        told = json.loads(lines[-1])
        reading = asyncio.create_task(asyncio.to_thread(sys.stderr.writelines, server.stderr))
        token = pathlib.Path(told["token_file"]).read_text().strip()
        async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as client:
            yield streamable_http_client(told["address"], http_client=client)
        began = time.monotonic()
        server.terminate()
        await asyncio.to_thread(server.wait, 30)
        ended.append(time.monotonic() - began)
        await reading
    finally:
        server.kill()


async def run_mode(scenario, mode: str, command: list[str], options: dict, is_http: bool):
    if is_http:
        ended = []
        async with over_http(command, ended) as transport:
            async with Client(transport, mode=mode, read_timeout_seconds=ANSWER_WITHIN_S, **options) as client:
                session = Session(client, mode)
                session.check(client.protocol_version == MODES[mode], f"speaks {MODES[mode]}", client.protocol_version)
                await scenario(session)
        session.check(ended[0] < 1.5, "the server is gone soon after it was told to stop", ended)
        return
    server = StdioServerParameters(command=command[0], args=command[1:])
    async with Client(server, mode=mode, read_timeout_seconds=ANSWER_WITHIN_S, **options) as client:
        session = Session(client, mode)
        session.check(client.protocol_version == MODES[mode], f"speaks {MODES[mode]}", client.protocol_version)
        await scenario(session)
        closing = time.monotonic()
    took = time.monotonic() - closing
    session.check(took < 1.5, "the server is gone soon after its input ended", took)


def main(scenario, modes: list[str], **options):
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", action="append", choices=sorted(MODES), help="default: " + ", ".join(modes))
    parser.add_argument("--http", action="store_true", help="over HTTP, not over standard input and output")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what starts the server")
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("the command that starts the server is missing")
    for mode in arguments.mode or modes:
        try:
            asyncio.run(run_mode(scenario, mode, arguments.command, options, arguments.http))
        except BaseException as error:
            for failure in leaves(error):
                print(f"FAIL [{mode}] {failure}", flush=True)
                if not isinstance(failure, Failed):
                    traceback.print_exception(failure, file=sys.stderr)
            sys.exit(1)


def leaves(error: BaseException) -> list[BaseException]:
    """The causes inside groups of exceptions, which the client's task groups make."""
    inner = getattr(error, "exceptions", None)
    return [leaf for cause in inner for leaf in leaves(cause)] if inner else [error]
