"""What the client tests share: connecting in one protocol generation, calling tools, checking, and one line for each thing that held.

A test is a script with a coroutine `scenario(session)`. It is run as `script.py [--mode MODE]… COMMAND [ARGUMENT…]`, where the command
starts the server on standard input and output; it is started anew for each mode. Exit code 0 means that everything held.
"""

import argparse
import asyncio
import json
import sys
import time
import traceback

from mcp import Client
from mcp.client.stdio import StdioServerParameters
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


async def run_mode(scenario, mode: str, command: list[str], options: dict):
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
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what starts the server")
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("the command that starts the server is missing")
    for mode in arguments.mode or modes:
        try:
            asyncio.run(run_mode(scenario, mode, arguments.command, options))
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
