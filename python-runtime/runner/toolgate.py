"""The platform's tools, from inside a program: `toolgate.call("workspace.read", paths=["a.txt"])`.

Each call is decided on, approved and recorded like any other. Only the tools named in `python.run`'s `tools` can be called. A call that
a human must approve waits for the answer; the program's wall time stands still meanwhile.
"""

import asyncio

import toolgate_host

__all__ = ["ToolError", "acall", "call", "gather", "stubs", "tools"]


class ToolError(Exception):
    """A call that was refused or failed. `code` is the error's stable word, `hint` what to do, `details` further data."""

    def __init__(self, tool, refused):
        super().__init__(f"{tool}: {refused.code}: {refused}")
        self.tool = tool
        self.code = refused.code
        self.message = refused.message
        self.hint = refused.hint
        self.details = refused.details


def call(tool, /, **arguments):
    """Calls a tool and gives its output back. Raises ToolError."""
    try:
        return toolgate_host.call(tool, arguments)
    except toolgate_host.HostRefused as refused:
        raise ToolError(tool, refused) from None


async def acall(tool, /, **arguments):
    """Like `call`, but others run meanwhile: `await asyncio.gather(toolgate.acall(…), toolgate.acall(…))`."""
    try:
        return await toolgate_host.acall(tool, arguments)
    except toolgate_host.HostRefused as refused:
        raise ToolError(tool, refused) from None


def gather(*calls, return_exceptions=False):
    """Several calls at once, from a program without an event loop: each a tuple (tool, arguments)."""

    async def all_of():
        return await asyncio.gather(
            *(acall(tool, **arguments) for tool, arguments in calls), return_exceptions=return_exceptions
        )

    return asyncio.run(all_of())


def tools():
    """The tools this program may call: name, title, description, input_schema, output_schema, effects."""
    return toolgate_host.tools()


_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "dict", "null": "None"}


def _type(schema, root):
    if not isinstance(schema, dict):
        return "object"
    reference = schema.get("$ref", "")
    if reference.startswith("#/$defs/"):
        return _type(root.get("$defs", {}).get(reference[8:], {}), root)
    if "enum" in schema:
        return "Literal[" + ", ".join(repr(value) for value in schema["enum"]) + "]"
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " | ".join(dict.fromkeys(_type(part, root) for part in schema[union]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type({**schema, "type": one}, root) for one in kind)
    if kind == "array":
        return f"list[{_type(schema.get('items', {}), root)}]"
    return _TYPES.get(kind, "object")


def _stub(tool):
    schema = tool["input_schema"]
    required = schema.get("required", [])
    names = sorted(schema.get("properties", {}), key=lambda name: name not in required)
    parts = []
    for name in names:
        text = f"{name}: {_type(schema['properties'][name], schema)}"
        parts.append(text if name in required else text + " = ...")
    star = "*, " if parts else ""
    head = f"def {tool['name'].replace('.', '_')}({star}{', '.join(parts)}) -> {_type(tool['output_schema'], tool['output_schema'])}:"
    return f'{head}\n    """{tool["description"]}"""\n'


def stubs():
    """The tools as typed Python function headers, to read: `toolgate.call("a.b", x=1)` is `a_b(x=1)` of the stubs."""
    return "from typing import Literal\n\n" + "\n".join(_stub(tool) for tool in tools())
