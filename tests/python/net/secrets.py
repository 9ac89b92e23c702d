"""Placeholders of secrets as programs write them: each library, headers, cookies, basic authentication, JSON, forms, parts; never a URL."""

import asyncio
import http.client
import json
import sys

import httpx
import requests

base = sys.argv[1]
place = "{{secret:CANARY}}"
headers = {"X-Key": "Bearer " + place}


def of(answer):
    return [answer.status_code, answer.text]


def raw():
    connection = http.client.HTTPConnection(base.split("//")[1])
    connection.request("POST", "/echo", json.dumps({"key": place}), {**headers, "Content-Type": "application/json"})
    answer = connection.getresponse()
    return [answer.status, answer.read().decode()]


def session():
    with requests.Session() as session:
        session.headers.update(headers)
        session.auth = ("me", place)
        return of(session.post(base + "/echo", data={"key": place}))


async def many():
    async with httpx.AsyncClient(headers=headers) as client:
        answers = await asyncio.gather(*(client.post(base + "/echo", json={"key": place, "n": n}) for n in range(3)))
        return [200 if all(answer.status_code == 200 for answer in answers) else 0, [answer.text for answer in answers]]


tries = {
    "raw": raw,
    "requests_json": lambda: of(requests.post(base + "/echo", json={"key": place}, headers=headers)),
    "requests_session": session,
    "requests_cookie": lambda: of(requests.get(base + "/echo", cookies={"sid": place})),
    "requests_parts": lambda: of(requests.post(base + "/echo", files={"f": ("a.txt", "hello " + place)})),
    "httpx_json": lambda: of(httpx.post(base + "/echo", json={"key": place}, headers=headers)),
    "httpx_basic": lambda: of(httpx.post(base + "/echo", data={"key": place}, auth=("me", place))),
    "httpx_async": lambda: asyncio.run(many()),
    "requests_url": lambda: of(requests.get(base + "/echo", params={"key": place})),
    "requests_other_host": lambda: of(requests.get(base.replace("127.0.0.1", "localhost") + "/echo", headers=headers)),
    "httpx_other_host": lambda: of(httpx.get(base.replace("127.0.0.1", "localhost") + "/echo", headers=headers)),
}
result = {}
for name, tried in tries.items():
    try:
        result[name] = tried()
    except Exception as error:
        result[name] = [type(error).__name__, str(error)]
