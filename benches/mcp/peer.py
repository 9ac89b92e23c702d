"""A minimal tool server on the reference SDK, to measure beside toolgate: the same three questions, with no log, policy or sandbox.

`peer.py` serves over standard input and output, `peer.py PORT` over HTTP at that port of the loopback.
"""

import subprocess
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("peer", log_level="ERROR")


@server.tool()
def noop(word: str) -> str:
    """Gives the word back."""
    return word


@server.tool()
def python(code: str) -> str:
    """Runs Python code in a process of its own, unconfined."""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


if len(sys.argv) > 1:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run("stdio")
