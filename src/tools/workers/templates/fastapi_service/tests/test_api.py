"""The HTTP interface, with all its errors."""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import NoReturn

import httpx2
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import orm

from {{ package }} import api, database, repository

URL = "/{{ plural }}"


def assert_problem(answer: httpx2.Response, status: int, code: str) -> None:
    """Check an answer's status and code, and that it says something."""
    problem = answer.json()["error"]
    assert (answer.status_code, problem["code"]) == (status, code)
    assert problem["message"]


def test_health(client: TestClient) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_health_tells_that_the_database_is_away(app: FastAPI, client: TestClient) -> None:
    class Away:
        def execute(self, statement: object) -> NoReturn:
            raise sa.exc.OperationalError(str(statement), None, ConnectionError("refused"))

    def session() -> Iterator[Away]:
        yield Away()

    app.dependency_overrides[database.get_session] = session
    assert_problem(client.get("/health"), 503, "unavailable")


def test_create_answers_with_the_record_and_its_place(client: TestClient) -> None:
    answer = client.post(URL, json={"name": "  First ", "status": "active"})
    assert answer.status_code == 201
    created = answer.json()
    assert answer.headers["Location"] == f"{URL}/{created['id']}"
    assert (created["name"], created["description"], created["status"]) == ("First", "", "active")
    assert created["created_at"] == created["updated_at"]
    assert datetime.fromisoformat(created["created_at"]).tzinfo is not None
    assert client.get(answer.headers["Location"]).json() == created


def test_put_replaces_and_patch_changes(client: TestClient) -> None:
    place = client.post(URL, json={"name": "First", "description": "text"}).headers["Location"]
    changed = client.patch(place, json={"status": "archived"})
    assert changed.status_code == 200
    assert (changed.json()["description"], changed.json()["status"]) == ("text", "archived")
    replaced = client.put(place, json={"name": "Other"})
    assert replaced.status_code == 200
    assert (replaced.json()["name"], replaced.json()["description"]) == ("Other", "")
    assert replaced.json()["status"] == "draft"
    assert client.patch(place, json={}).json() == replaced.json()


def test_delete_leaves_nothing(client: TestClient) -> None:
    place = client.post(URL, json={"name": "First"}).headers["Location"]
    answer = client.delete(place)
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get(place).status_code == 404


def test_list_pages_and_filters(client: TestClient) -> None:
    for number in range(3):
        client.post(URL, json={"name": f"No {number}", "status": "active" if number == 0 else "draft"})
    page = client.get(URL, params={"limit": 2, "offset": 1}).json()
    assert [item["name"] for item in page["items"]] == ["No 1", "No 0"]
    assert (page["total"], page["limit"], page["offset"]) == (3, 2, 1)
    active = client.get(URL, params={"status": "active"}).json()
    assert ([item["name"] for item in active["items"]], active["total"]) == (["No 0"], 1)
    assert client.get(URL).json()["limit"] == 20


def test_a_name_is_given_once(client: TestClient) -> None:
    client.post(URL, json={"name": "First"})
    second = client.post(URL, json={"name": "Second"}).headers["Location"]
    assert_problem(client.post(URL, json={"name": "First"}), 409, "conflict")
    assert_problem(client.patch(second, json={"name": "First"}), 409, "conflict")
    assert_problem(client.put(second, json={"name": "First"}), 409, "conflict")
    assert client.get(second).json()["name"] == "Second"
    assert client.get(URL).json()["total"] == 2


def test_fields_that_are_wrong_are_named(client: TestClient) -> None:
    answer = client.post(URL, json={"name": " ", "status": "gone", "description": "a\x00b", "extra": 1})
    assert_problem(answer, 422, "invalid")
    assert set(answer.json()["error"]["fields"]) == {"name", "status", "description", "extra"}
    assert client.get(URL).json()["total"] == 0


@pytest.mark.parametrize("field", ["name", "description", "status", "id"])
def test_a_change_takes_no_null_and_no_other_field(client: TestClient, field: str) -> None:
    place = client.post(URL, json={"name": "First"}).headers["Location"]
    answer = client.patch(place, json={field: None})
    assert_problem(answer, 422, "invalid")
    assert set(answer.json()["error"]["fields"]) == {field}


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[1, 2", b"[" * 9_000])
def test_bodies_that_are_not_json_are_refused(client: TestClient, raw: bytes) -> None:
    answer = client.post(URL, content=raw, headers={"Content-Type": "application/json"})
    assert_problem(answer, 400, "bad_json")


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"7", b'{"name": "\\ud800"}'])
def test_json_that_is_no_record_is_refused(client: TestClient, raw: bytes) -> None:
    answer = client.post(URL, content=raw, headers={"Content-Type": "application/json"})
    assert_problem(answer, 422, "invalid")


def test_other_media_types_are_refused(client: TestClient) -> None:
    answer = client.post(URL, content=b'{"name": "x"}', headers={"Content-Type": "text/plain"})
    assert_problem(answer, 415, "media_type")


def test_large_bodies_are_refused(client: TestClient) -> None:
    whole = client.post(URL, json={"name": "x", "description": "y" * 10_000})
    assert_problem(whole, 413, "too_large")
    declared = client.post(URL, json={"name": "x"}, headers={"Content-Length": "10001"})
    assert_problem(declared, 413, "too_large")
    pieces = client.post(URL, content=iter([b"x" * 6_000] * 2), headers={"Content-Type": "application/json"})
    assert_problem(pieces, 413, "too_large")


@pytest.mark.parametrize("path", ["/", "/other", f"{URL}/0", f"{URL}/x", f"{URL}/1/more", f"{URL}/{2**63}"])
def test_unknown_paths(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 404, "not_found")


def test_unknown_ids(client: TestClient) -> None:
    place = f"{URL}/{api.MAX_ID}"
    for answer in (
        client.get(place),
        client.put(place, json={"name": "x"}),
        client.patch(place, json={"name": "x"}),
        client.patch(place, json={}),
        client.delete(place),
    ):
        assert_problem(answer, 404, "not_found")


@pytest.mark.parametrize(("path", "allowed"), [(URL, "GET, POST"), (f"{URL}/1", "DELETE, GET, PATCH, PUT")])
def test_methods_that_are_not_offered(client: TestClient, path: str, allowed: str) -> None:
    answer = client.request("PROPFIND", path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=", "offset=-1", "status=gone"])
def test_bad_queries_are_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"{URL}?{query}")
    assert_problem(answer, 400, "bad_query")
    assert answer.json()["error"]["message"].startswith(query.partition("=")[0])


def test_an_unforeseen_failure_tells_nothing(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("secret")

    monkeypatch.setattr(repository.{{ name }}Repository, "page", fail)
    with caplog.at_level(logging.ERROR):
        answer = client.get(URL)
    assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "secret" in caplog.text


def test_a_commit_that_fails_is_an_error_to_the_client(app: FastAPI, client: TestClient) -> None:
    def fail(_session: orm.Session) -> NoReturn:
        raise ConnectionError

    sa.event.listen(app.state.sessions, "before_commit", fail)
    assert_problem(client.post(URL, json={"name": "First"}), 500, "internal")


def test_the_description_tells_every_route(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/health", URL, URL + "/{record_id}"}
