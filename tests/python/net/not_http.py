"""What is not HTTP/1.1 is refused at once, with words that say what and why; nothing hangs and nothing else is done instead."""

import asyncio
import smtplib
import socket
import ssl
import sys
import urllib.parse
import urllib.request

where = urllib.parse.urlsplit(sys.argv[1])
HOST, PORT = where.hostname, where.port or 80
texts = {}


def expect(name, action, part, kinds=OSError):
    try:
        action()
    except kinds as error:
        texts[name] = str(error)
        assert part in texts[name], (name, texts[name])
        return
    raise AssertionError(f"{name}: nothing was refused")


def talk(*parts):
    with socket.create_connection((HOST, PORT), timeout=5) as stream:
        for part in parts:
            stream.sendall(part)
        stream.recv(100)


def request(*headers, first="GET / HTTP/1.1", body=b""):
    return "\r\n".join((first, *headers, "", "")).encode() + body


ME = f"Host: {where.netloc}"
expect("redis", lambda: talk(b"*1\r\n$4\r\nPING\r\n"), "not an HTTP/1.1 request")
expect("postgres", lambda: talk(b"\x00\x00\x00\x08\x04\xd2\x16\x2f"), "not an HTTP/1.1 request")
expect("own TLS", lambda: talk(b"\x16\x03\x01\x02\x00\x01"), "not an HTTP/1.1 request")
expect("SOCKS", lambda: talk(b"\x05\x01\x00"), "not an HTTP/1.1 request")
expect("HTTP/2", lambda: talk(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "HTTP/2 is not possible")
expect("server first", talk, "speak first")
expect("smtplib", lambda: smtplib.SMTP(HOST, PORT, timeout=5), "speak first")
expect("half a request", lambda: talk(b"GET / HTTP/1.1\r\nHo"), "not whole")
expect("CONNECT", lambda: talk(request(first="CONNECT example.com:443 HTTP/1.1")), "a proxy (CONNECT)")
expect("forward proxy", lambda: talk(request(first="GET http://example.com/ HTTP/1.1")), "a proxy")
expect("own Host", lambda: talk(request("Host: other.example")), "put the name into the URL")
expect("WebSocket", lambda: talk(request(ME, "Upgrade: websocket", "Connection: Upgrade")), "a WebSocket is not possible")
expect("two lengths", lambda: talk(request(ME, "Content-Length: 1", "Content-Length: 2", body=b"ab")), "unclear")
expect("length and chunks", lambda: talk(request(ME, "Content-Length: 1", "Transfer-Encoding: chunked")), "unclear")
expect("bad chunk", lambda: talk(request(ME, "Transfer-Encoding: chunked", body=b"zz\r\n")), "malformed chunk")
expect("folded header", lambda: talk(request(ME, "X: a", " b")), "malformed, folded or too large")
expect("endless header", lambda: talk(b"GET / HTTP/1.1\r\nX: ", b"a" * 300_000), "256 KiB")
expect("UDP", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "UDP")
expect("server", lambda: socket.create_server(("127.0.0.1", 8080)), "being a server")
expect("name", lambda: socket.gethostbyname("example.com"), "resolved by the host")
expect("bad name", lambda: socket.create_connection(("a/b@c", 80)), "not a host's name")


async def ask(part):
    reader, writer = await asyncio.open_connection(HOST, PORT)
    writer.write(part)
    await reader.read()


expect("asyncio raw", lambda: asyncio.run(ask(b"EHLO me\r\n")), "not an HTTP/1.1 request")
expect("asyncio server", lambda: asyncio.run(asyncio.start_server(lambda r, w: None, "127.0.0.1", 8080)), "being a server")

proxied = urllib.request.build_opener(urllib.request.ProxyHandler({"http": f"http://{where.netloc}", "https": f"http://{where.netloc}"}))
expect("urllib proxy", lambda: proxied.open("http://example.com/"), "a proxy")
expect("urllib https proxy", lambda: proxied.open("https://example.com/"), "a proxy (CONNECT)")

# Settings of TLS that the host cannot keep are errors, never passed over.
context = ssl.create_default_context()
with open("/tmp/own.pem", "w") as file:
    file.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
expect("client certificate", lambda: context.load_cert_chain("/tmp/own.pem"), "a client certificate cannot be used", ssl.SSLError)
expect("own authorities", lambda: ssl.create_default_context(cafile="/tmp/own.pem"), "authorities of the program's own", ssl.SSLError)
context.minimum_version = ssl.TLSVersion.TLSv1_3
expect("TLS 1.3 only", lambda: context.wrap_socket(socket.create_connection((HOST, PORT)), server_hostname=HOST), "TLS 1.3", ssl.SSLError)
plain = ssl.create_default_context()
expect("other name", lambda: plain.wrap_socket(socket.create_connection((HOST, PORT)), server_hostname="other.example"), "other.example")
wrapped = plain.wrap_socket(socket.create_connection((HOST, PORT)), server_hostname=HOST)
expect("pinning", lambda: wrapped.getpeercert(binary_form=True), "certificate (fingerprints, pinning)", ssl.SSLError)
expect("TLS in TLS", lambda: plain.wrap_socket(wrapped, server_hostname=HOST), "TLS inside of TLS")

result = texts
