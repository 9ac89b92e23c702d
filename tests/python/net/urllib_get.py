"""`urllib.request` over the host: answers, errors, redirects, chunks, repeated headers, timeouts."""

import json
import sys
import urllib.error
import urllib.request

base = sys.argv[1].rstrip("/")

with urllib.request.urlopen(f"{base}/hello", timeout=10) as answer:
    assert (answer.status, answer.read()) == (200, b"hello")
    assert answer.headers["Content-Length"] == "5" and answer.headers["Transfer-Encoding"] is None

asked = urllib.request.Request(f"{base}/echo", data=b"a\r\n\r\nb\x00", headers={"X-One": "1", "Content-Type": "text/x"}, method="POST")
echo = json.load(urllib.request.urlopen(asked))
assert (echo["method"], echo["body"]) == ("POST", "a\r\n\r\nb\x00"), echo
told = {name.lower(): value for name, value in echo["headers"]}
assert told["x-one"] == "1" and told["content-type"] == "text/x" and told["content-length"] == "7", told

with urllib.request.urlopen(f"{base}/redirect") as answer:
    assert answer.read() == b"hello" and answer.url == f"{base}/hello", answer.url

try:
    urllib.request.urlopen(f"{base}/status/404")
    raise AssertionError("404 is an error for urllib")
except urllib.error.HTTPError as error:
    assert error.code == 404

head = urllib.request.urlopen(urllib.request.Request(f"{base}/hello", method="HEAD"))
assert (head.status, head.read()) == (200, b"")
chunked = urllib.request.urlopen(f"{base}/chunked").read()
assert len(chunked) > 0
cookies = urllib.request.urlopen(f"{base}/set-cookie").headers.get_all("Set-Cookie")
assert len(cookies) == 2, cookies
big = urllib.request.urlopen(f"{base}/big?n=300000").read()
assert len(big) == 300000

try:
    urllib.request.urlopen(f"{base}/slow?ms=5000", timeout=0.2)
    raise AssertionError("a slow answer must time out")
except TimeoutError as error:
    late = str(error)

result = {"chunked": len(chunked), "cookies": cookies, "late": late}
