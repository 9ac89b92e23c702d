"""What the host does for a program: tools of the platform and HTTP. Everything is submitted, numbered, and fetched when it has finished.

Programs use `toolgate` and the usual HTTP libraries; this module is what those stand on.
"""

import asyncio
import json

from wit_world.imports import host as _host

_waiting = {}


class HostRefused(Exception):
    """The host refused something or could not do it. `code` is a stable word, `details` further data."""

    def __init__(self, code, message, hint="", details=None):
        super().__init__(f"{message}; {hint}" if hint else message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details


class Answer:
    """An HTTP answer."""

    __slots__ = ("status", "reason", "headers", "body", "url")

    def __init__(self, raw):
        self.status = raw.status
        self.reason = raw.reason
        self.headers = [(header.name, header.value) for header in raw.headers]
        self.body = raw.body
        self.url = raw.url


def _refused(raw):
    return HostRefused(raw.code, raw.message, raw.hint, json.loads(raw.details) if raw.details else None)


def _submit(operation):
    try:
        return _host.submit(operation)
    except Exception as error:
        raw = getattr(error, "value", None)
        if isinstance(raw, _host.Refusal):
            raise _refused(raw) from None
        raise


def _open(answer):
    if isinstance(answer, _host.Answer_Refused):
        raise _refused(answer.value)
    if isinstance(answer, _host.Answer_Http):
        return Answer(answer.value)
    return json.loads(answer.value)


def _wait(number):
    try:
        return _open(_host.wait_for(number))
    except Exception as error:
        raw = getattr(error, "value", None)
        if isinstance(raw, _host.Refusal):
            raise _refused(raw) from None
        raise


async def _await(number):
    future = asyncio.get_running_loop().create_future()
    _waiting[number] = future
    try:
        return _open(await future)
    finally:
        _waiting.pop(number, None)


def busy():
    """Whether something that the event loop waits for is under way."""
    return bool(_waiting)


def pump(timeout):
    """Waits up to `timeout` seconds (None: as long as it takes) and hands what has finished to those who await it."""
    millis = None if timeout is None else max(0, int(timeout * 1000 + 0.999))
    while (done := _host.next_finished(millis)) is not None:
        future = _waiting.get(done.number)
        if future is not None and not future.done():
            future.set_result(done.answer)
        # What has finished meanwhile goes along without waiting.
        millis = 0


def network_allowed():
    return _host.get_powers().network


def tools_allowed():
    return _host.get_powers().tools


def tools():
    """The tools this program may call, as the host describes them."""
    return json.loads(_host.tools())


def _http(method, url, headers, body, timeout):
    millis = None if timeout is None else max(1, int(timeout * 1000))
    headers = [_host.Header(str(name), str(value)) for name, value in headers]
    return _host.Operation_Http(_host.HttpRequest(method, url, headers, bytes(body or b""), millis))


def http(method, url, headers=(), body=b"", timeout=None):
    """One HTTP exchange, without following redirects."""
    return _wait(_submit(_http(method, url, headers, body, timeout)))


async def ahttp(method, url, headers=(), body=b"", timeout=None):
    """Like `http`; others run meanwhile."""
    return await _await(_submit(_http(method, url, headers, body, timeout)))


def _call(tool, arguments):
    return _host.Operation_Call(_host.ToolCall(tool, json.dumps(arguments)))


def call(tool, arguments):
    """One call of a tool; its output."""
    return _wait(_submit(_call(tool, arguments)))


async def acall(tool, arguments):
    """Like `call`; others run meanwhile."""
    return await _await(_submit(_call(tool, arguments)))
