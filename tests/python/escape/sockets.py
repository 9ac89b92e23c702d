"""Sockets of every family, and connections to a listener on the machine. Argument: the listener's port."""

import asyncio
import itertools
import socket
import sys
import urllib.request

from _attempts import attempt, leave, must

port = int(sys.argv[1])
FAMILIES = {
    "unspecified": 0, "unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17, "rds": 21, "can": 29, "tipc": 30,
    "bluetooth": 31, "alg": 38, "vsock": 40, "xdp": 44, "wasi inet": 1, "wasi inet6": 2, "wasi unix": 3,
}  # fmt: skip
KINDS = {"stream": 1, "datagram": 2, "raw": 3, "wasi datagram": 5, "wasi stream": 6}


def by_loop():
    async def main():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return await reader.read(5)

    return asyncio.run(asyncio.wait_for(main(), 5))


def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        return out.sendto(b"x", ("127.0.0.1", port))


def unix():
    out = socket.socket(socket.AF_UNIX)
    out.bind("/tmp/toolgate-escape.sock")


def served():
    from http.server import HTTPServer, BaseHTTPRequestHandler

    return HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)


def used(make, family, kind):
    """An object that stands for a socket is nothing yet; one that says something to somebody is."""
    one = make(family, kind, 0)
    must(hasattr(one, "connect"))
    one.connect(("127.0.0.1", port))
    return one.send(b"x")


def imported():
    """The library under the library."""
    import _socket

    return _socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0).connect(("127.0.0.1", port))


attempt("connect", lambda: must(socket.create_connection(("127.0.0.1", port), 5).recv(5)))
attempt("connect by name", lambda: must(socket.create_connection(("localhost", port), 5).recv(5)))
attempt("connect by number", lambda: must(socket.create_connection(("2130706433", port), 5).recv(5)))
attempt("connect, inner", imported)
attempt("connect in the loop", by_loop)
attempt("connect_ex", lambda: must(socket.socket().connect_ex(("127.0.0.1", port)) == 0))
attempt("udp", udp)
attempt("pair", lambda: socket.socketpair())
attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)))
attempt("listen everywhere", lambda: socket.create_server(("", 0)))
attempt("serve", served)
if sys.platform == "wasi":
    attempt("unix", unix)
    for (family, a), (kind, b) in itertools.product(FAMILIES.items(), KINDS.items()):
        attempt(f"socket {family} {kind}", used, socket.socket, a, b)
    for family, a in FAMILIES.items():
        attempt(f"inner socket {family}", used, __import__("_socket").socket, a, socket.SOCK_STREAM)
    for protocol in (1, 6, 17, 58, 255):
        attempt(f"raw {protocol}", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW if hasattr(socket, "SOCK_RAW") else 3, protocol))
    attempt("url", lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5))
    attempt("adopt", lambda: socket.fromfd(3, socket.AF_INET, socket.SOCK_STREAM))
    attempt("interfaces", lambda: must(socket.if_nameindex()))
    attempt("metadata service", lambda: urllib.request.urlopen("http://169.254.169.254/", timeout=5))
    attempt("TLS", lambda: __import__("ssl").create_default_context().wrap_socket(socket.create_connection(("127.0.0.1", port), 5)))
    attempt("select", lambda: must(__import__("select").select([3], [], [], 0)[0]))
leave()
