"""The client of `fastmcp` drives the server: tools, Python, and a person's answers to forms, which it fills in by itself as they come.

    fastmcp_client.py MODE stdio COMMAND [ARGUMENT…]
    fastmcp_client.py MODE http ADDRESS TOKEN_FILE

The home trusts the client's human. Each thing that holds is a line `PASS`; exit code 0 means that everything held.
"""

import asyncio
import json
import pathlib
import sys

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError

MODE, WAY, *TARGET = sys.argv[1:]
VERSIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}

# What the person does with the next form, and the questions that were shown.
TURN = {"person": None, "shown": []}


def check(holds, what: str, seen=None):
    if not holds:
        sys.exit(f"FAIL [{MODE} {WAY}] {what}\n  seen: {json.dumps(seen, default=str)[:2000]}")
    print(f"PASS [{MODE} {WAY}] {what}", flush=True)


async def elicit(message, response_type, params, context):
    """The client's window: shows a form and gives what the person made of it."""
    TURN["shown"].append(message)
    return TURN["person"](message, response_type)


def types_it(message, response_type):
    """A person who reads the question and types what it asks for, into the class that the client made of the form."""
    digest = next(line for line in message.splitlines() if line.startswith("  digest"))
    return response_type(confirm=digest[-4:])


def declines(message, response_type):
    return ElicitResult(action="decline")


def closes(message, response_type):
    return ElicitResult(action="cancel")


def code(word: str) -> dict:
    return {"entrypoint": "inline", "code": f"print({word!r})", "allow_network": True, "allowed_hosts": ["example.org"]}


async def refusal(client: Client, tool: str, arguments: dict) -> str:
    try:
        answer = await client.call_tool(tool, arguments)
    except ToolError as error:
        return str(error)
    sys.exit(f"FAIL [{MODE} {WAY}] {tool} should have failed\n  seen: {answer}")


async def main():
    if WAY == "stdio":
        client = Client(StdioTransport(TARGET[0], TARGET[1:]), mode=MODE, elicitation_handler=elicit)
    else:
        token = pathlib.Path(TARGET[1]).read_text().strip()
        client = Client(TARGET[0], auth=token, mode=MODE, elicitation_handler=elicit)
    async with client:
        check(client.protocol_version == VERSIONS[MODE], f"speaks {VERSIONS[MODE]}", client.protocol_version)
        names = [tool.name for tool in await client.list_tools()]
        check("python_run" in names and "run_start" in names, "tools are listed", names)
        answer = await client.call_tool("python_run", {"entrypoint": "inline", "code": "print(6 * 7)"})
        check(answer.structured_content["stdout"] == "42\n", "Python runs", answer.structured_content)
        check(answer.data is not None, "the answer is made a value by its schema", answer.data)
        error = await refusal(client, "python_run", {"entrypoint": "inline", "code": 7})
        check(error.startswith("INVALID_INPUT") and "code" in error, "wrong input is refused and the field is named", error)

        TURN["person"] = types_it
        answer = await client.call_tool("python_run", code("typed"))
        check(answer.structured_content["stdout"] == "typed\n", "the person types what is asked for and the call runs", answer)
        check(len(TURN["shown"]) == 1 and "print('typed')" in TURN["shown"][0], "after one question that shows the code", TURN["shown"])
        for person, word, due in [(closes, "closed", "APPROVAL_REQUIRED"), (declines, "declined", "APPROVAL_DENIED")]:
            TURN["person"] = person
            error = await refusal(client, "python_run", code(word))
            check(error.startswith(due), f"{word}: {due}", error)
        shown = len(TURN["shown"])
        error = await refusal(client, "python_run", code("declined"))
        check(error.startswith("APPROVAL_DENIED") and len(TURN["shown"]) == shown, "a no stands and is not asked again", error)


asyncio.run(main())
