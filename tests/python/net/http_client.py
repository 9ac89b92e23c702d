"""`http.client` and plain sockets over the host: one connection for many requests, chunks, `Expect`, closing."""

import http.client
import io
import json
import socket
import sys
import urllib.parse

where = urllib.parse.urlsplit(sys.argv[1])
port = where.port or 80
conn = http.client.HTTPConnection(where.hostname, port, timeout=10)
conn.connect()
first = conn.sock

conn.request("GET", "/hello")
answer = conn.getresponse()
assert (answer.status, answer.version, answer.read()) == (200, 11, b"hello")


def echo(**asked):
    conn.request("POST", "/echo", **asked)
    return json.loads(conn.getresponse().read())


assert echo(body=b"x" * 100_000)["body"] == "x" * 100_000
assert echo(body=(part for part in (b"one", b"two" * 1000, b"three")))["body"] == "one" + "two" * 1000 + "three"
assert echo(body=io.BytesIO(b"from a file"), headers={"Content-Length": "11"})["body"] == "from a file"
assert echo(body=b"")["body"] == ""
conn.request("HEAD", "/hello")
answer = conn.getresponse()
assert (answer.status, answer.getheader("Content-Length"), answer.read()) == (200, "5", b"")
conn.request("GET", "/redirect")
answer = conn.getresponse()
assert (answer.status, answer.getheader("Location")) == (302, "/hello")
answer.read()
conn.request("DELETE", "/status/204")
answer = conn.getresponse()
assert (answer.status, answer.read()) == (204, b"")
assert conn.sock is first, "the connection was kept"
conn.close()

# Byte by byte, two requests before the first answer is read, and the end of the connection after the last.
stream = socket.create_connection((where.hostname, port), timeout=10)
both = f"GET /hello HTTP/1.1\r\nHost: {where.netloc}\r\n\r\nGET /status/404 HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n\r\n"
for byte in both.encode():
    stream.send(bytes([byte]))
received = b""
while data := stream.recv(7):
    received += data
assert received.count(b"HTTP/1.1 ") == 2 and b"\r\n\r\nhello" in received and b"HTTP/1.1 404 " in received, received
assert received.count(b"Connection: close") == 1
try:
    stream.sendall(both.encode())
    raise AssertionError("the connection has ended")
except BrokenPipeError:
    pass
stream.close()

# A client that asks before it sends a body.
stream = socket.create_connection((where.hostname, port))
stream.sendall(f"POST /echo HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n".encode())
assert stream.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
stream.sendall(b"body")
with stream.makefile("rb") as lines:
    assert lines.readline().startswith(b"HTTP/1.1 200 ")
    while lines.readline().strip():
        pass
    said = json.loads(lines.read())
assert said["body"] == "body" and "expect" not in {name.lower() for name, _ in said["headers"]}, said

result = {"kept": True, "two": received.count(b"HTTP/1.1 ")}
