"""httpx, one request after the other, over the host."""

import sys

import httpx

base = sys.argv[1].rstrip("/")

with httpx.Client(base_url=base, timeout=10) as client:
    assert client.get("/hello").text == "hello"
    sent = client.post("/echo", json={"a": 1}, headers={"X-Three": "3"}).json()
    told = {name.lower(): value for name, value in sent["headers"]}
    assert sent["method"] == "POST" and sent["body"].replace(" ", "") == '{"a":1}' and told["x-three"] == "3", sent
    assert client.post("/echo", content=(part for part in (b"ab", b"cd"))).json()["body"] == "abcd"
    assert client.get("/redirect").status_code == 302
    moved = client.get("/redirect", follow_redirects=True)
    assert moved.text == "hello" and moved.url.path == "/hello"
    unpacked = client.get("/gzip").text
    client.get("/set-cookie")
    assert len(client.cookies) == 2
    assert client.head("/hello").headers["content-length"] == "5"
    assert client.get("/status/404").status_code == 404
    chunked = client.get("/chunked").content
    with client.stream("GET", "/big?n=300000") as answer:
        assert sum(len(part) for part in answer.iter_bytes()) == 300000
    try:
        client.get("/slow?ms=5000", timeout=0.2)
        raise AssertionError("a slow answer must time out")
    except httpx.ReadTimeout as error:
        assert str(error)

result = {"unpacked": unpacked, "chunked": len(chunked)}
