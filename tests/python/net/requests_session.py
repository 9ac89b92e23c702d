"""requests over the host: sessions, cookies, compressed answers, uploads, redirects, errors."""

import sys
import warnings

import requests

base = sys.argv[1].rstrip("/")
session = requests.Session()

answer = session.get(f"{base}/hello", timeout=(3, 10))
assert (answer.status_code, answer.text) == (200, "hello")
sent = session.post(f"{base}/echo", json={"a": [1, "é"]}, headers={"X-Two": "2"}).json()
told = {name.lower(): value for name, value in sent["headers"]}
assert sent["body"].startswith('{"a": [1,') and told["x-two"] == "2" and told["content-type"] == "application/json", sent
sent = session.put(f"{base}/echo", data=(part for part in (b"ab", b"cd"))).json()
assert (sent["method"], sent["body"]) == ("PUT", "abcd"), sent
assert session.post(f"{base}/echo", files={"f": ("n.txt", b"inside")}).json()["body"].count("inside") == 1

answer = session.get(f"{base}/redirect")
assert answer.text == "hello" and [one.status_code for one in answer.history] == [302]
assert session.get(f"{base}/redirect", allow_redirects=False).status_code == 302
assert session.get(f"{base}/gzip").headers["Content-Encoding"] == "gzip"
unpacked = session.get(f"{base}/gzip").text
session.get(f"{base}/set-cookie")
cookies = sorted(session.cookies.keys())
assert len(cookies) == 2, cookies
told = {name.lower(): value for name, value in session.get(f"{base}/echo").json()["headers"]}
assert all(name in told["cookie"] for name in cookies), told
assert session.head(f"{base}/hello").headers["Content-Length"] == "5"
assert len(session.get(f"{base}/big?n=300000", stream=True).raw.read()) == 300000
try:
    session.get(f"{base}/status/404").raise_for_status()
    raise AssertionError("404 is an error")
except requests.HTTPError:
    pass
try:
    session.get(f"{base}/slow?ms=5000", timeout=(3, 0.2))
    raise AssertionError("a slow answer must time out")
except requests.ReadTimeout:
    pass

# Certificates are verified by the host whatever the program says; it is told so.
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    try:
        requests.get("https://denied.invalid/", verify=False, timeout=5)
        raise AssertionError("the host allows only the test's server")
    except requests.ConnectionError:
        pass
assert any("certificates are verified" in str(one.message) for one in said), said

result = {"cookies": cookies, "unpacked": unpacked}
