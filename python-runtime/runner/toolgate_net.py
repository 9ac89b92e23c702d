"""Lets the usual HTTP libraries work where there are no sockets: streams that speak HTTP/1.1 to the host.

A socket here collects the bytes of a request. When a request is whole the host does it (names, addresses, TLS, rules, log and secrets are
the host's), and its answer can be read as the bytes of an HTTP/1.1 answer. So `http.client`, `urllib.request`, urllib3, requests, httpcore,
httpx, anyio and asyncio's streams run with their own code. INVARIANT: what the host cannot do as asked is an error; nothing else is done.

`install()` patches the modules. It is called once, before the snapshot, and may come before or after the imports it patches.
"""

import asyncio
import collections
import contextlib
import errno
import importlib
import importlib.machinery
import ipaddress
import re
import select
import selectors
import socket
import sys
import time
import urllib.error
import urllib.parse
from asyncio import futures, protocols, selector_events, transports, trsock

import toolgate_host
import toolgate_ssl

OFF = "the network is off: call python.run with allow_network true and allowed_hosts"
_ONLY = "the sandbox has no sockets, only HTTP/1.1 requests that the host does for the program"
_HEAD_LIMIT = 256 * 1024
# How long, in seconds, an asyncio connection without requests stays open; as servers do it.
_IDLE = 15
_PIECE = 64 * 1024

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIRST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([^ ]+) HTTP/(\d)\.(\d)")
# Of the connection between program and host, or made by the host anew.
_LINE_HEADERS = {"connection", "keep-alive", "proxy-connection", "transfer-encoding"}
_OWN_HEADERS = _LINE_HEADERS | {"host", "te", "trailer", "content-length", "upgrade", "expect"}

_PlainSocket = socket.socket
_plain_poll = getattr(select, "poll", None)
_plain_select = select.select


class NotPossible(OSError):
    """Something other than HTTP/1.1 requests."""

    def __init__(self, what, instead="use an HTTP library"):
        super().__init__(errno.EOPNOTSUPP, f"{what} not possible: {_ONLY}; {instead}")


class NetworkOff(ConnectionRefusedError):
    """This program may not use the network."""

    def __init__(self):
        super().__init__(errno.ECONNREFUSED, OFF)


class _Failure:
    """What the kinds of failure share. `toolgate_code` is the host's stable word."""

    def __init__(self, number, text, code):
        self.args = (number, text)
        self.errno, self.strerror, self.reason = number, text, text
        self.toolgate_code = code

    def __str__(self):
        return self.strerror


class RequestFailed(_Failure, urllib.error.URLError, ConnectionError):
    """The host could not do a request. Both a URLError and a ConnectionError, since it shows only while the answer is read."""


class RequestRefused(_Failure, urllib.error.URLError, ConnectionRefusedError):
    """The host will not do a request."""


class RequestTimeout(_Failure, TimeoutError):
    """The answer did not come in time."""


def _failure(refused):
    if refused.code == "TIMEOUT":
        return RequestTimeout(errno.ETIMEDOUT, str(refused), refused.code)
    if refused.code == "EGRESS_DENIED":
        return RequestRefused(errno.ECONNREFUSED, str(refused), refused.code)
    number = {"LIMIT_EXCEEDED": errno.EMSGSIZE, "INVALID_INPUT": errno.EINVAL}.get(refused.code, errno.EHOSTUNREACH)
    return RequestFailed(number, str(refused), refused.code)


Request = collections.namedtuple("Request", "method url headers body closes")


def _plain_name(host):
    """One form of a host's name or address, to compare and to put in a URL."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("latin-1")
    host = host.strip("[]") if host.startswith("[") else host
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", host):
        raise socket.gaierror(socket.EAI_NONAME, f"not a host's name or address: {host!r:.100}")
    return host.lower().removesuffix(".") or "."


def _header_bytes(line):
    line = re.sub(r"[\r\n\0]", " ", line)
    try:
        return line.encode("latin-1") + b"\r\n"
    except UnicodeEncodeError:
        return line.encode() + b"\r\n"


class _Line:
    """One connection: takes the program's bytes, gives whole requests, and keeps the answers' bytes. Does nothing itself."""

    def __init__(self, host, port):
        self.host, self.port, self.scheme = _plain_name(host), port, "http"
        self.uses = 1
        self.eof = self.wants_continue = False
        self.failed = None
        self._used = 0
        self._in, self._out = bytearray(), collections.deque()
        self._whole = collections.deque()
        self._parts = self._parse()
        next(self._parts)

    def begin_tls(self, name):
        if self.scheme == "https":
            raise NotPossible("TLS inside of TLS (HTTPS proxies) is")
        if self._used or self._in:
            raise NotPossible("beginning TLS on a connection in use (STARTTLS, HTTPS proxies) is")
        if name and _plain_name(name) != self.host:
            raise NotPossible(f"asking {self.host} for the certificate of {name} is", "connect to the name itself; the host resolves it")
        self.scheme = "https"

    def feed(self, data):
        if self.failed is not None:
            raise self.failed
        if self.eof:
            raise BrokenPipeError(errno.EPIPE, "the connection has ended")
        self._in += data
        try:
            self._parts.send(None)
        except OSError as error:
            self.failed = error
            raise

    def next(self):
        """The next whole request, to be done by whoever asks; None where there is none."""
        return self._whole.popleft() if self._whole else None

    def has_next(self):
        return bool(self._whole)

    def answer(self, request, answer):
        """Takes the host's answer to a request."""
        status, body = answer.status, bytes(answer.body)
        if not 200 <= status <= 999:
            self.fail(NotPossible(f"an answer with the status {status} (switching protocols) is"))
            raise self.failed
        lines, length = [f"HTTP/1.1 {status} {answer.reason}"], None
        for name, value in answer.headers:
            if name.lower() == "content-length":
                length = value if length is None else length
            elif name.lower() not in _LINE_HEADERS:
                lines.append(f"{name}: {value}")
        if request.method == "HEAD" or status in (204, 304):
            # The length that the body would have.
            body = b""
            length = None if status == 204 else length
        else:
            length = len(body)
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if request.closes:
            lines.append("Connection: close")
            self.eof = True
        self._out.append(b"".join(_header_bytes(line) for line in (*lines, "")))
        # The body stays where it is, and is copied only as it is read.
        self._out.append(memoryview(body))

    def drop(self):
        self._whole.clear()

    def fail(self, error):
        self.failed, self.eof = error, True
        self.drop()
        return error

    def read(self, size, keep=False):
        if self.wants_continue and not self.buffered():
            self.wants_continue = False
            self._out.append(b"HTTP/1.1 100 Continue\r\n\r\n")
        while self._out and not self._out[0]:
            self._out.popleft()
        if not self._out:
            return b""
        data = bytes(self._out[0][:size])
        if not keep:
            self._out[0] = self._out[0][size:]
        return data

    def buffered(self):
        return sum(len(piece) for piece in self._out)

    def idle(self):
        """Whether all that was asked is answered."""
        return self._used > 0 and not self._in and not self._whole and not self._partial

    def untouched(self):
        return not self._used and not self._in and not self._partial

    def readable(self):
        return bool(self._whole or self.eof or self.failed or self.wants_continue or self.buffered())

    # The rest reads requests. `yield` waits for more bytes.

    def _text_line(self):
        start = 0
        while (end := self._in.find(b"\n", start)) < 0:
            start = len(self._in)
            if start > _HEAD_LIMIT:
                raise NotPossible("a request line or header of more than 256 KiB is")
            yield
        line = bytes(self._in[:end]).removesuffix(b"\r")
        del self._in[: end + 1]
        return line

    def _exactly(self, size):
        while len(self._in) < size:
            yield
        with memoryview(self._in) as view:
            data = bytes(view[:size])
        del self._in[:size]
        return data

    def _parse(self):
        self._partial = False
        while not self._in:
            yield
        while len(self._in) < len(toolgate_ssl.MARK) and toolgate_ssl.MARK.startswith(self._in):
            yield
        if self._in.startswith(toolgate_ssl.MARK):
            mark = yield from self._text_line()
            self.begin_tls(mark[len(toolgate_ssl.MARK) :].decode("ascii"))
        while True:
            while not self._in:
                yield
            self._partial = True
            request = yield from self._request()
            self._partial = False
            self._used += 1
            self._whole.append(request)

    def _first_line(self):
        # What is no request shows in its first bytes; waiting for a line's end could be waiting forever.
        while b"\n" not in self._in:
            word = self._in.partition(b" ")[0]
            if not _TOKEN.fullmatch(word) or len(word) > 32:
                break
            if len(self._in) > _HEAD_LIMIT:
                raise NotPossible("a request line of more than 256 KiB is")
            yield
        else:
            line = yield from self._text_line()
            if (found := _FIRST.fullmatch(line)) and found[3] == b"1":
                return found
            if line.startswith(b"PRI * HTTP/2"):
                raise NotPossible("HTTP/2 is", "use HTTP/1.1")
        raise NotPossible(
            f"what the program sent to {self.host} port {self.port} is not an HTTP/1.1 request, and other protocols are",
            "use the service's HTTP interface if it has one",
        )

    def _request(self):
        while self._in[:1] in (b"\r", b"\n"):
            yield from self._text_line()
            while not self._in:
                yield
        first = yield from self._first_line()
        method, size, headers = first[1].decode(), 0, []
        while line := (yield from self._text_line()):
            size += len(line)
            name, colon, value = line.partition(b":")
            if not colon or not _TOKEN.fullmatch(name) or size > _HEAD_LIMIT or len(headers) >= 1000:
                raise NotPossible("a request with a malformed, folded or too large header is", "send 256 KiB of headers at most")
            headers.append((name.decode("ascii"), value.strip(b" \t").decode("latin-1")))
        said = collections.defaultdict(list)
        for name, value in headers:
            said[name.lower()].append(value)
        url = self._url(method, first[2], said)
        tokens = {token.strip().lower() for token in ",".join(said["connection"]).split(",")}
        if "websocket" in ",".join(said["upgrade"]).lower():
            raise NotPossible("a WebSocket is", "use the service's HTTP interface if it has one")
        body = yield from self._body(said)
        headers = [(name, value) for name, value in headers if name.lower() not in _OWN_HEADERS | tokens]
        closes = "close" in tokens or (first[4] == b"0" and "keep-alive" not in tokens)
        return Request(method, url, headers, body, closes)

    def _url(self, method, target, said):
        default = 443 if self.scheme == "https" else 80
        name = f"[{self.host}]" if ":" in self.host else self.host
        base = f"{self.scheme}://{name}" if self.port == default else f"{self.scheme}://{name}:{self.port}"
        if method == "CONNECT":
            raise NotPossible("a proxy (CONNECT) is", "leave the proxy out; the operator can set one for toolgate")
        target = "".join(chr(byte) if 0x21 <= byte < 0x7F else f"%{byte:02X}" for byte in target)
        authorities = list(dict.fromkeys(said["host"]))
        if "://" in target.partition("/")[0] + "//" and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", target):
            parts = urllib.parse.urlsplit(target)
            authorities.append(parts.netloc)
            if parts.scheme.lower() != self.scheme:
                raise NotPossible(f"asking {self.host} for another server's page (a proxy) is", "leave the proxy out")
            target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        if not target.startswith("/"):
            raise NotPossible(f"a request for {target!r:.100}, which is not a path, is")
        for authority in authorities:
            if authority and not self._is_me(authority):
                here = f"{self.host} port {self.port}"
                raise NotPossible(
                    f"a request for {authority!r:.100} over a connection to {here} (a proxy or an own Host header) is",
                    "put the name into the URL; the host resolves it",
                )
        return base + target

    def _is_me(self, authority):
        found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{0,5}))?", authority)
        try:
            # A default port may be left out, and some clients leave every port out.
            return found is not None and _plain_name(found[1]) == self.host and int(found[2] or self.port) == self.port
        except OSError:
            return False

    def _body(self, said):
        codings = [coding.strip().lower() for coding in ",".join(said["transfer-encoding"]).split(",") if coding.strip()]
        lengths = set(said["content-length"])
        clear = codings in ([], ["chunked"]) and len(lengths) <= (0 if codings else 1)
        if not clear or not all(re.fullmatch("[0-9]{1,15}", length) for length in lengths):
            raise NotPossible("a request whose Content-Length or Transfer-Encoding is unclear is", "send one length, or chunks")
        length = int(lengths.pop()) if lengths else 0
        if (codings or length) and not self._in and "100-continue" in ",".join(said["expect"]).lower():
            self.wants_continue = True
            while not self._in:
                yield
            self.wants_continue = False
        if not codings:
            return (yield from self._exactly(length))
        body = bytearray()
        while True:
            size = (yield from self._text_line()).partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,12}", size):
                raise NotPossible("a request with a malformed chunk is")
            if int(size, 16) == 0:
                break
            body += yield from self._exactly(int(size, 16))
            if (yield from self._text_line()):
                raise NotPossible("a request with a malformed chunk is")
        while (yield from self._text_line()):
            pass
        return bytes(body)


def _do(line, timeout):
    """Does a line's next request; others stand still meanwhile."""
    request = line.next()
    try:
        answer = toolgate_host.http(request.method, request.url, request.headers, request.body, timeout)
    except toolgate_host.HostRefused as refused:
        raise line.fail(_failure(refused)) from None
    line.answer(request, answer)


async def _ado(line):
    """Like `_do`; others run meanwhile."""
    request = line.next()
    try:
        answer = await toolgate_host.ahttp(request.method, request.url, request.headers, request.body, None)
    except toolgate_host.HostRefused as refused:
        raise line.fail(_failure(refused)) from None
    line.answer(request, answer)


# Numbers of no descriptor, each with its line (None: not connected).
_lines = {}
_FIRST_NUMBER = 1 << 20


def _number(line):
    number = _FIRST_NUMBER
    while number in _lines:
        number += 1
    _lines[number] = line
    return number


class Socket(_PlainSocket):
    """A socket that can connect, and then speaks HTTP/1.1 with the host."""

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        self._io_refs = 0
        self._closed = False
        self._number = -1
        self._family = socket.AF_INET if family == -1 else family
        self._type = socket.SOCK_STREAM if type == -1 else type
        self._proto = 0 if proto == -1 else proto
        self._wait = socket.getdefaulttimeout()
        self._options = {}
        if self._type & 0xF != socket.SOCK_STREAM & 0xF or self._family not in (socket.AF_INET, socket.AF_INET6):
            raise NotPossible("UDP, raw and local sockets are")
        if fileno is not None and fileno not in _lines:
            raise OSError(errno.EBADF, "not a socket")
        self._number = _number(None) if fileno is None else fileno

    family = property(lambda self: socket.AddressFamily(self._family))
    type = property(lambda self: socket.SOCK_STREAM)
    proto = property(lambda self: self._proto)
    timeout = property(lambda self: self._wait)

    def _line(self):
        if self._number not in _lines:
            raise OSError(errno.EBADF, "the socket is closed")
        if (line := _lines[self._number]) is None:
            raise OSError(errno.ENOTCONN, "the socket is not connected")
        return line

    def connect(self, address, /):
        if self._number not in _lines:
            raise OSError(errno.EBADF, "the socket is closed")
        if _lines[self._number] is not None:
            raise OSError(errno.EISCONN, "the socket is connected")
        host, port = address[:2]
        if not isinstance(port, int) or not 0 <= port < 65536:
            raise OverflowError(f"a port is a number from 1 to 65535, not {port!r}")
        if port == 0:
            raise OSError(errno.EADDRNOTAVAIL, "port 0 is no port to connect to")
        if not toolgate_host.network_allowed():
            raise NetworkOff()
        _lines[self._number] = _Line(host, port)

    def connect_ex(self, address, /):
        try:
            self.connect(address)
        except OSError as error:
            return error.errno
        return 0

    def _begin_tls(self, name):
        self._line().begin_tls(name)

    def _buffered(self):
        return self._line().buffered()

    def send(self, data, flags=0, /):
        data = memoryview(data)
        self._line().feed(data)
        return data.nbytes

    def sendall(self, data, flags=0, /):
        Socket.send(self, data)

    def sendmsg(self, buffers, ancdata=(), flags=0, address=None, /):
        return self.send(b"".join(buffers))

    def recv(self, size, flags=0, /):
        line = self._line()
        while size:
            if data := line.read(size, bool(flags & getattr(socket, "MSG_PEEK", 0))):
                return data
            if line.failed is not None:
                raise line.failed
            if line.has_next():
                _do(line, self._wait or None)
            elif line.eof or line.idle():
                break
            elif self._wait == 0:
                raise BlockingIOError(errno.EAGAIN, "no bytes have come yet")
            elif line.untouched():
                who = f"{line.host} port {line.port}"
                raise line.fail(NotPossible(f"waiting for {who} to speak first, as other protocols than HTTP do, is"))
            else:
                raise line.fail(NotPossible("waiting for the answer to a request that is not whole is"))
        return b""

    def recv_into(self, buffer, nbytes=0, flags=0, /):
        view = memoryview(buffer).cast("B")
        data = Socket.recv(self, min(nbytes or len(view), len(view)), flags)
        view[: len(data)] = data
        return len(data)

    def recvfrom(self, size, flags=0, /):
        return self.recv(size, flags), None

    def recvfrom_into(self, buffer, nbytes=0, flags=0, /):
        return self.recv_into(buffer, nbytes, flags), None

    def sendto(self, data, *rest):
        raise NotPossible("UDP is")

    def bind(self, address, /):
        raise NotPossible("being a server, or choosing the own address, is", "test a server's code by calling it, without a connection")

    def listen(self, backlog=0, /):
        raise NotPossible("being a server is", "test a server's code by calling it, without a connection")

    def accept(self):
        self.listen()

    def settimeout(self, value, /):
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._wait = None if value is None else float(value)

    def gettimeout(self):
        return self._wait

    def setblocking(self, flag, /):
        self._wait = None if flag else 0.0

    def getblocking(self):
        return self._wait != 0

    def setsockopt(self, level, name, value, *rest):
        self._options[level, name] = value

    def getsockopt(self, level, name, size=0, /):
        value = self._options.get((level, name), socket.SOCK_STREAM if (level, name) == (socket.SOL_SOCKET, socket.SO_TYPE) else 0)
        return value if not size or isinstance(value, bytes) else int(value).to_bytes(min(size, 4), sys.byteorder)

    def _address(self, host, port):
        return (host, port, 0, 0) if self._family == socket.AF_INET6 else (host, port)

    def getpeername(self):
        line = self._line()
        return self._address(line.host, line.port)

    def getsockname(self):
        return self._address("::" if self._family == socket.AF_INET6 else "0.0.0.0", 0)

    def fileno(self):
        return self._number

    def dup(self):
        if (line := _lines.get(self._number)) is not None:
            line.uses += 1
        other = type(self)(self._family, self._type, self._proto, _number(line))
        other.settimeout(self._wait)
        return other

    def detach(self):
        self._closed = True
        number, self._number = self._number, -1
        return number

    def shutdown(self, how, /):
        line = self._line()
        if how != socket.SHUT_WR:
            line.eof = True

    def _real_close(self):
        number, self._number = self._number, -1
        line = _lines.pop(number, None)
        if line is None:
            return
        line.uses -= 1
        # What was sent in whole is done, although nobody wants the answer.
        while not line.uses and line.has_next():
            with contextlib.suppress(OSError):
                _do(line, self._wait or None)

    def __del__(self):
        _lines.pop(getattr(self, "_number", -1), None)


def ready(number):
    """Whether something can be read from the socket of this number; None if it is no socket of ours."""
    if number not in _lines:
        return None
    line = _lines[number]
    return line is not None and line.readable()


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """The address to connect to: the name itself, for only the host resolves names."""
    if isinstance(port, str) and not port.isdigit():
        port = {"http": 80, "https": 443}.get(port)
        if port is None:
            raise socket.gaierror(socket.EAI_SERVICE, "only the services http and https are known; give the port's number")
    if not flags & socket.AI_PASSIVE and not toolgate_host.network_allowed():
        raise NetworkOff()
    name = _plain_name(host) if host else "127.0.0.1"
    try:
        # Whatever family is asked for: some clients think that a machine where they cannot listen on ::1 has no IPv6.
        found = socket.AF_INET6 if ipaddress.ip_address(name).version == 6 else socket.AF_INET
    except ValueError:
        found = family or socket.AF_INET
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, f"not an address: {name}") from None
    where = (name, int(port or 0), 0, 0) if found == socket.AF_INET6 else (name, int(port or 0))
    return [(socket.AddressFamily(found), socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)]


def gethostbyname(name, /):
    name = _plain_name(name)
    with contextlib.suppress(ValueError):
        return str(ipaddress.IPv4Address(name))
    raise socket.gaierror(socket.EAI_FAIL, f"{name} is resolved by the host, and only when a request is made: use the name in the URL")


def gethostbyname_ex(name, /):
    return name, [], [gethostbyname(name)]


class Poll:
    """`select.poll` that knows these sockets."""

    def __init__(self):
        self._masks = {}

    def register(self, file, mask=select.POLLIN | select.POLLOUT, /):
        self._masks[file if isinstance(file, int) else file.fileno()] = mask

    def modify(self, file, mask, /):
        number = file if isinstance(file, int) else file.fileno()
        if number not in self._masks:
            raise FileNotFoundError(errno.ENOENT, "not registered")
        self._masks[number] = mask

    def unregister(self, file, /):
        del self._masks[file if isinstance(file, int) else file.fileno()]

    def poll(self, timeout=None, /):
        rest, found = _plain_poll(), []
        others = False
        for number, mask in self._masks.items():
            if (can_read := ready(number)) is None:
                rest.register(number, mask)
                others = True
            elif events := mask & ((select.POLLIN if can_read else 0) | (select.POLLOUT if _lines[number] else 0)):
                found.append((number, events))
        if others:
            return found + rest.poll(0 if found else timeout)
        if not found:
            _wait_in_vain(None if timeout is None or timeout < 0 else timeout / 1000)
        return found


def _wait_in_vain(timeout):
    if timeout is None:
        raise NotPossible("waiting without a limit for a connection on which nothing was asked is")
    time.sleep(timeout)


def select_(read, write, other, timeout=None, /):
    """`select.select` that knows these sockets."""
    number = {file: file if isinstance(file, int) else file.fileno() for file in (*read, *write, *other)}
    ours = {file for file in number if number[file] in _lines}
    if not ours:
        return _plain_select(read, write, other, timeout)
    can_read = [file for file in read if file in ours and ready(number[file])]
    can_write = [file for file in write if file in ours and _lines[number[file]]]
    rest = [[file for file in files if file not in ours] for files in (read, write, other)]
    if any(rest):
        more = _plain_select(*rest, 0 if can_read or can_write else timeout)
        return can_read + more[0], can_write + more[1], more[2]
    if not can_read and not can_write:
        _wait_in_vain(timeout)
    return can_read, can_write, []


class Transport(transports._FlowControlMixin, transports.Transport):
    """asyncio's side of a socket: requests run beside each other, one at a time on each connection."""

    _start_tls_compatible = True

    def __init__(self, loop, sock, protocol, waiter=None, extra=None, server=None):
        super().__init__(extra, loop)
        self._extra.update(socket=trsock.TransportSocket(sock), sockname=sock.getsockname(), peername=sock.getpeername())
        self._sock, self._line = sock, sock._line()
        self._closing = self._lost = self._paused = self._ended = False
        self._task = self._timer = None
        self._protocol = protocol
        loop.call_soon(self._protocol.connection_made, self)
        if waiter is not None:
            loop.call_soon(futures._set_result_unless_cancelled, waiter, None)

    def set_protocol(self, protocol):
        self._protocol = protocol

    def get_protocol(self):
        return self._protocol

    def is_closing(self):
        return self._closing

    def is_reading(self):
        return not self._closing and not self._paused

    def pause_reading(self):
        self._paused = True

    def resume_reading(self):
        if self._paused and not self._closing:
            self._paused = False
            self._loop.call_soon(self._deliver)

    def get_write_buffer_size(self):
        return 0

    def can_write_eof(self):
        return True

    def write_eof(self):
        self._ended = True

    def write(self, data):
        if self._ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing:
            return
        try:
            self._line.feed(data)
        except OSError as error:
            self._fatal_error(error)
            return
        if self._line.has_next() and self._task is None:
            self._task = self._loop.create_task(self._work())
        elif self._line.wants_continue:
            self._loop.call_soon(self._deliver)

    async def _work(self):
        try:
            while self._line.has_next():
                await _ado(self._line)
                self._loop.call_soon(self._deliver)
        except Exception as error:
            self._fatal_error(error)
        finally:
            self._task = None

    def _deliver(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._paused or self._closing:
            return
        if data := self._line.read(_PIECE):
            # The protocol may pause after each piece.
            self._loop.call_soon(self._deliver)
            if isinstance(self._protocol, protocols.BufferedProtocol):
                protocols._feed_data_to_buffered_proto(self._protocol, data)
            else:
                self._protocol.data_received(data)
        elif self._line.eof:
            self._end()
        elif self._line.idle():
            self._timer = self._loop.call_later(_IDLE, self._idle_over)

    def _idle_over(self):
        if self._line.idle() and not self._closing and self._task is None:
            self._line.eof = True
            self._end()

    def _end(self):
        if not self._lost and not self._protocol.eof_received():
            self.close()

    def _fatal_error(self, error, message=None):
        self._force_close(error)

    def close(self):
        # A request that was sent in whole goes on, as it would over a real connection.
        self._close(None)

    def abort(self):
        self._force_close(None)

    def _force_close(self, error):
        # A task cannot end itself here: it is the one that reports an error.
        if self._task is not None and self._task is not asyncio.current_task(self._loop):
            self._task.cancel()
        self._line.drop()
        self._close(error)

    def _close(self, error):
        if self._timer is not None:
            self._timer.cancel()
        self._closing = True
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._connection_lost, error)

    def _connection_lost(self, error):
        try:
            self._protocol.connection_lost(error)
        finally:
            self._line.eof = True
            if self._task is None:
                self._sock.close()


def _make_socket_transport(loop, sock, protocol, waiter=None, *, extra=None, server=None):
    return Transport(loop, sock, protocol, waiter, extra, server)


def _make_ssl_transport(
    loop, sock, protocol, context, waiter=None, *, server_side=False, server_hostname=None, extra=None, server=None, **times
):
    tls = asyncio.sslproto.SSLProtocol(loop, protocol, context, waiter, server_side, server_hostname, **times)
    Transport(loop, sock, tls, extra=extra, server=server)
    return tls._app_transport


async def _sock_connect(loop, sock, address):
    sock.connect(address)


async def _sock_sendall(loop, sock, data):
    sock.sendall(data)


async def _sock_recv(loop, sock, size):
    line = sock._line()
    if not line.buffered() and line.has_next():
        await _ado(line)
    return sock.recv(size)


async def _sock_recv_into(loop, sock, buffer):
    data = await _sock_recv(loop, sock, memoryview(buffer).nbytes)
    memoryview(buffer).cast("B")[: len(data)] = data
    return len(data)


def _not_for_sockets(plain):
    def add(loop, number, callback, *args):
        if number in _lines:
            raise NotPossible("watching a socket's descriptor is", "use asyncio's streams")
        return plain(loop, number, callback, *args)

    return add


def _ours(error):
    """The failure of this module that an error stands for, if any."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop()
        if isinstance(one, (_Failure, NotPossible, NetworkOff)):
            return one
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            todo += [one.__cause__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]
    return None


def _mapping(module):
    """httpcore's table of errors, with the host's sentence kept. A refusal shows while the answer is read, but is one of connecting."""
    plain = module.map_exceptions

    @contextlib.contextmanager
    def map_exceptions(table):
        try:
            with plain(table):
                yield
        except Exception as error:
            if (cause := _ours(error)) is None:
                raise
            raise (module.ReadTimeout if isinstance(cause, TimeoutError) else module.ConnectError)(str(cause)) from cause

    return map_exceptions


class _AfterImport:
    """A finder of modules that adds a last step to the import of httpcore's errors."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "httpcore._exceptions":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            plain = spec.loader.exec_module

            def exec_module(module):
                plain(module)
                if module.__name__ == name and {"map_exceptions", "ReadTimeout", "ConnectError"} <= set(vars(module)):
                    module.map_exceptions = _mapping(module)

            spec.loader.exec_module = exec_module
        return spec


def install():
    """Patches the modules; once, before the snapshot."""
    socket.socket = socket.SocketType = Socket
    socket.getaddrinfo, socket.gethostbyname, socket.gethostbyname_ex = getaddrinfo, gethostbyname, gethostbyname_ex
    select.select = select_
    if hasattr(selectors, "SelectSelector"):
        selectors.SelectSelector._select = staticmethod(select_)
    if _plain_poll is not None:
        select.poll = Poll
        if hasattr(selectors, "PollSelector"):
            selectors.PollSelector._selector_cls = Poll
    # `ssl` is built on the sockets above.
    sys.modules["_ssl"] = toolgate_ssl
    sys.modules.pop("ssl", None)
    ssl = importlib.import_module("ssl")
    for name in ("base_events", "selector_events", "sslproto", "unix_events"):
        if (module := sys.modules.get(f"asyncio.{name}")) is not None:
            module.ssl = ssl
    asyncio.sslproto.SSLAgainErrors = (ssl.SSLWantReadError, ssl.SSLSyscallError)
    loop = selector_events.BaseSelectorEventLoop
    loop._make_socket_transport, loop._make_ssl_transport = _make_socket_transport, _make_ssl_transport
    loop.sock_connect, loop.sock_sendall, loop.sock_recv, loop.sock_recv_into = _sock_connect, _sock_sendall, _sock_recv, _sock_recv_into
    loop._add_reader, loop._add_writer = _not_for_sockets(loop._add_reader), _not_for_sockets(loop._add_writer)
    # These define their HTTPS parts only if `ssl` is there when they are imported; the order is theirs.
    for name in ("http.client", "urllib.request", "ftplib", "imaplib", "poplib", "smtplib", "xmlrpc.client"):
        if name in sys.modules:
            importlib.reload(sys.modules[name])
    sys.meta_path.insert(0, _AfterImport)
