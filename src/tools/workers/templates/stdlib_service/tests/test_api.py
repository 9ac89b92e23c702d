"""The HTTP face, called without a socket."""

import unittest
from typing import NoReturn

from {{ package }}.api import MAX_BODY
from tests.support import ServiceTestCase


class CrudTest(ServiceTestCase):
    """A record's life."""

    def test_health(self) -> None:
        answer = self.client.request("GET", "/health")
        self.assertEqual((answer.status, answer.json), (200, {"status": "ok"}))

    def test_create_answers_with_the_record_and_its_place(self) -> None:
        answer = self.client.request("POST", "/{{ plural }}", {"name": "First", "status": "active"})
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.headers["Location"], "/{{ plural }}/1")
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual((answer.json["id"], answer.json["name"], answer.json["status"]), (1, "First", "active"))
        self.assertEqual(self.client.request("GET", "/{{ plural }}/1").json, answer.json)

    def test_put_replaces_and_patch_changes(self) -> None:
        self.client.request("POST", "/{{ plural }}", {"name": "First", "description": "text"})
        changed = self.client.request("PATCH", "/{{ plural }}/1", {"status": "archived"})
        self.assertEqual((changed.status, changed.json["description"]), (200, "text"))
        replaced = self.client.request("PUT", "/{{ plural }}/1", {"name": "Other"})
        self.assertEqual((replaced.json["name"], replaced.json["description"]), ("Other", ""))

    def test_delete_leaves_nothing(self) -> None:
        self.client.request("POST", "/{{ plural }}", {"name": "First"})
        answer = self.client.request("DELETE", "/{{ plural }}/1")
        self.assertEqual((answer.status, answer.json), (204, None))
        self.assertNotIn("Content-Type", answer.headers)
        self.assertEqual(self.client.request("GET", "/{{ plural }}/1").status, 404)

    def test_list_pages_and_filters(self) -> None:
        for number in range(3):
            status = "active" if number == 0 else "draft"
            self.client.request("POST", "/{{ plural }}", {"name": f"No {number}", "status": status})
        page = self.client.request("GET", "/{{ plural }}?limit=2&offset=1").json
        self.assertEqual([item["name"] for item in page["items"]], ["No 1", "No 0"])
        self.assertEqual((page["total"], page["limit"], page["offset"]), (3, 2, 1))
        self.assertEqual(self.client.request("GET", "/{{ plural }}?status=active").json["total"], 1)
        self.assertEqual(self.client.request("GET", "/{{ plural }}/").json["limit"], 20)


class ErrorTest(ServiceTestCase):
    """Every error has its status and the same form."""

    def assert_error(self, answer: object, status: int, code: str) -> None:
        """Check an answer's status and code, and that it says something."""
        self.assertEqual((answer.status, answer.json["error"]["code"]), (status, code))  # type: ignore[attr-defined]
        self.assertTrue(answer.json["error"]["message"])  # type: ignore[attr-defined]

    def test_fields_that_are_wrong_are_named(self) -> None:
        answer = self.client.request("POST", "/{{ plural }}", {"name": "", "extra": 1})
        self.assert_error(answer, 422, "invalid")
        self.assertEqual(set(answer.json["error"]["fields"]), {"name", "extra"})
        self.assertEqual(self.client.request("GET", "/{{ plural }}").json["total"], 0)

    def test_bodies_that_are_not_json_are_refused(self) -> None:
        for raw in (b"", b"{", b"\xff", b"[1, 2"):
            with self.subTest(raw=raw[:3]):
                self.assert_error(self.client.request("POST", "/{{ plural }}", raw=raw), 400, "bad_json")

    def test_other_media_types_are_refused(self) -> None:
        answer = self.client.request("POST", "/{{ plural }}", {"name": "x"}, CONTENT_TYPE="text/plain")
        self.assert_error(answer, 415, "media_type")

    def test_large_bodies_are_refused_unread(self) -> None:
        answer = self.client.request("POST", "/{{ plural }}", CONTENT_LENGTH=str(MAX_BODY + 1))
        self.assert_error(answer, 413, "too_large")
        self.assert_error(self.client.request("POST", "/{{ plural }}", CONTENT_LENGTH="many"), 400, "bad_length")

    def test_unknown_paths_and_ids(self) -> None:
        for path in ("/", "/other", "/{{ plural }}/0", "/{{ plural }}/x", "/{{ plural }}/1/more", "/{{ plural }}/99"):
            with self.subTest(path=path):
                self.assert_error(self.client.request("GET", path), 404, "not_found")
        self.assert_error(self.client.request("PATCH", "/{{ plural }}/9", {"name": "x"}), 404, "not_found")
        self.assert_error(self.client.request("DELETE", "/{{ plural }}/9"), 404, "not_found")

    def test_methods_are_named_where_one_is_refused(self) -> None:
        answer = self.client.request("DELETE", "/{{ plural }}")
        self.assert_error(answer, 405, "method_not_allowed")
        self.assertEqual(answer.headers["Allow"], "GET, POST")

    def test_bad_queries_are_refused(self) -> None:
        for query in ("limit=0", "limit=101", "limit=x", "limit=", "offset=-1", "status=gone", "limit=9999999999999"):
            with self.subTest(query=query):
                self.assert_error(self.client.request("GET", f"/{{ plural }}?{query}"), 400, "bad_query")

    def test_an_unforeseen_failure_tells_nothing(self) -> None:
        def fail(**_: object) -> NoReturn:
            raise RuntimeError("secret")

        self.repository.list = fail  # type: ignore[method-assign]
        with self.assertLogs("{{ package }}.api", "ERROR"):
            answer = self.client.request("GET", "/{{ plural }}")
        self.assert_error(answer, 500, "internal")
        self.assertNotIn("secret", str(answer.json))


if __name__ == "__main__":
    unittest.main()
