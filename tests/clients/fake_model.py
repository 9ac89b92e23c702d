"""A model endpoint without a model: agents call the tools that a script names, with no network and no account.

    fake_model.py SCRIPT

Speaks `/v1/messages` (plain and streamed) and `/v1/responses` on a free port of 127.0.0.1 and prints the port. SCRIPT is a JSON file
with a list of turns:

    {"call": TOOL, "arguments": {…}}            calls the offered tool whose name ends so
    {"call": …, "until": "waiting.0"}           … again and again until its answer has this
    {"call": …, "after": FILE}                  … once the file is there
    {"say": TEXT}                               the end

An argument `$TOOL.path` is what that tool's last answer has there; where it has nothing the argument is left out. Every answer that a
client hands to the model is printed as one JSON line: what a model would have seen.
"""

import json
import pathlib
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAIT_S = 240
MOST_REPEATS = 100

# Said where nothing of the script fits.
ASIDE = "nothing to do with this"

# What agents offer while a server still starts: the one waits for it by name, the other by asking it something.
WAITING = {"WaitForMcpServers": {}, "list_mcp_resources": {}}


def say(**line):
    print(json.dumps(line), flush=True)


def at(value, path: str):
    """What lies at a dotted path, or `None`."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value


def data(text: str):
    """The first JSON object in a text that clients may have wrapped."""
    decoder = json.JSONDecoder()
    for start in (at for at, letter in enumerate(text) if letter in "{["):
        try:
            found, _ = decoder.raw_decode(text[start:])
        except ValueError:
            continue
        if isinstance(found, list):
            inner = "".join(part.get("text", "") for part in found if isinstance(part, dict))
            return data(inner) if inner else None
        if isinstance(found, dict):
            return found
    return None


def text_of(content) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") if isinstance(part, dict) else str(part) for part in content)
    return content if isinstance(content, str) else json.dumps(content)


class Play:
    """The script and how far it has come."""

    def __init__(self, turns: list[dict]):
        self.turns, self.at, self.calls, self.repeats, self.waited = turns, 0, 0, 0, 0
        self.open, self.answers, self.lock = None, {}, threading.Lock()

    def next(self, offered: list[tuple], results: dict[str, str]):
        """What the model says to a request: `("call", id, offered tool, arguments)` or `("say", text)`."""
        with self.lock:
            if self.open:
                if self.open not in results:
                    return "say", ASIDE
                self.take(results[self.open])
            if self.at >= len(self.turns):
                return "say", "DONE"
            turn = self.turns[self.at]
            if "say" in turn:
                self.at += 1
                return "say", turn["say"]
            found = next((tool for tool in offered if tool[1].startswith(("mcp__", turn["call"])) and tool[1].endswith(turn["call"])), None)
            if not found:
                return self.waits(offered)
            if "after" in turn:
                self.wait_for(pathlib.Path(turn["after"]))
            self.calls += 1
            self.open = f"call_{self.calls}"
            return "call", self.open, found, self.filled(turn.get("arguments", {}))

    def waits(self, offered: list[tuple]):
        """The tool is not there: its server still starts, or this is a request beside the conversation."""
        tool = next((tool for tool in offered if tool[1] in WAITING), None)
        if not tool or self.waited >= MOST_REPEATS:
            return "say", ASIDE
        self.waited += 1
        time.sleep(0.2)
        return "call", f"wait_{self.waited}", tool, WAITING[tool[1]]

    def take(self, text: str):
        turn = self.turns[self.at]
        answer = data(text)
        self.answers[turn["call"]] = answer
        self.open = None
        say(tool=turn["call"], saw=text, data=answer)
        if "until" in turn and not at(answer, turn["until"]) and self.repeats < MOST_REPEATS:
            self.repeats += 1
            return
        self.at, self.repeats = self.at + 1, 0

    def filled(self, value):
        if isinstance(value, dict):
            filled = {key: self.filled(inner) for key, inner in value.items()}
            return {key: inner for key, inner in filled.items() if inner is not None}
        if isinstance(value, str) and value.startswith("$"):
            tool, _, path = value[1:].partition(".")
            return at(self.answers.get(tool), path)
        return value

    @staticmethod
    def wait_for(file: pathlib.Path):
        deadline = time.monotonic() + WAIT_S
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    play: Play

    def log_message(self, *_):
        pass

    def answer(self, body: bytes, kind: str):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply(self, value):
        self.answer(json.dumps(value).encode(), "application/json")

    def stream(self, events: list[dict]):
        text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        self.answer(text.encode(), "text/event-stream")

    def do_HEAD(self):
        self.reply({})

    def do_GET(self):
        self.reply({"data": [], "models": []})

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            request = json.loads(raw)
        except ValueError:
            return self.reply({})
        if "count_tokens" in self.path:
            return self.reply({"input_tokens": 10})
        if "/responses" in self.path:
            return self.answer_responses(request)
        if "/messages" in self.path:
            return self.answer_messages(request)
        return self.reply({})

    def answer_responses(self, request: dict):
        """The Responses API: tools stand alone or inside a namespace."""
        items = [item for item in request.get("input", []) if isinstance(item, dict)]
        results = {item["call_id"]: text_of(item.get("output")) for item in items if item.get("type") == "function_call_output"}
        offered = []
        for tool in request.get("tools", []):
            if tool.get("type") == "namespace":
                offered += [(tool["name"], inner.get("name", "")) for inner in tool.get("tools", [])]
            else:
                offered.append((None, tool.get("name", "")))
        kind, *rest = self.play.next(offered, results)
        if kind == "call":
            call, (namespace, name), arguments = rest
            item = {"type": "function_call", "id": f"fc_{call}", "call_id": call, "name": name, "arguments": json.dumps(arguments)}
            if namespace:
                item["namespace"] = namespace
        else:
            item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": rest[0]}]}
        usage = {"input_tokens": 1, "input_tokens_details": None, "output_tokens": 1, "output_tokens_details": None, "total_tokens": 2}
        self.stream(
            [
                {"type": "response.created", "response": {"id": "resp_1"}},
                {"type": "response.output_item.done", "item": item},
                {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}},
            ]
        )

    def answer_messages(self, request: dict):
        """The Messages API."""
        lists = [message["content"] for message in request.get("messages", []) if isinstance(message.get("content"), list)]
        parts = [part for content in lists for part in content if part.get("type") == "tool_result"]
        results = {part["tool_use_id"]: text_of(part.get("content")) for part in parts}
        names = [tool.get("name", "") for tool in request.get("tools", [])]
        kind, *rest = self.play.next([(None, name) for name in names], results)
        if kind == "call":
            call, (_, name), arguments = rest
            block = {"type": "tool_use", "id": call, "name": name, "input": {}}
            whole, delta = {"input": arguments}, {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        else:
            block = {"type": "text", "text": ""}
            whole, delta = {"text": rest[0]}, {"type": "text_delta", "text": rest[0]}
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": request.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        stop = "tool_use" if kind == "call" else "end_turn"
        if not request.get("stream"):
            return self.reply(message | {"content": [block | whole], "stop_reason": stop})
        self.stream(
            [
                {"type": "message_start", "message": message},
                {"type": "content_block_start", "index": 0, "content_block": block},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 2}},
                {"type": "message_stop"},
            ]
        )


if __name__ == "__main__":
    Model.play = Play(json.loads(pathlib.Path(sys.argv[1]).read_text()))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    say(port=server.server_port)
    server.serve_forever()
