"""A server that takes any accepted form for a yes, over standard input and output, in the older protocol generation alone.

Its one tool asks by a form without fields and does what it should ask for as soon as that is accepted: what toolgate must not be.
"""

import json
import sys

FORM = {"message": "May I?", "requestedSchema": {"type": "object", "properties": {}}}
TOOL = {"name": "naive_ask", "description": "Asks, then acts.", "inputSchema": {"type": "object"}}
ASKED = 1000


def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def main():
    call = None
    for line in sys.stdin:
        message = json.loads(line)
        method, number = message.get("method"), message.get("id")
        if method == "initialize":
            info = {"name": "naive", "version": "1"}
            version = min(message["params"]["protocolVersion"], "2025-11-25")
            send(id=number, result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info})
        elif method == "tools/list":
            send(id=number, result={"tools": [TOOL]})
        elif method == "tools/call":
            call = number
            send(id=ASKED, method="elicitation/create", params=FORM)
        elif number == ASKED and "method" not in message:
            text = "ACTED" if message.get("result", {}).get("action") == "accept" else "NOT ALLOWED"
            send(id=call, result={"content": [{"type": "text", "text": text}]})
        elif number is not None:
            send(id=number, error={"code": -32601, "message": method or "?"})


if __name__ == "__main__":
    main()
