"""What the tests share: a repository in memory and a client without a socket."""

from __future__ import annotations

import io
import itertools
import json
import sqlite3
import unittest
from dataclasses import dataclass
from typing import Any
from wsgiref.util import setup_testing_defaults

from {{ package }}.api import Application
from {{ package }}.storage import {{ name }}Repository, open_database


@dataclass(frozen=True)
class Answer:
    """A response as a client sees it."""

    status: int
    headers: dict[str, str]
    json: Any


class Client:
    """Calls a WSGI application directly."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def request(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **environ: str) -> Answer:
        """Send one request; ``body`` goes as JSON, ``raw`` as it is."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        path, _, query = path.partition("?")
        request: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(data)),
            "wsgi.input": io.BytesIO(data),
            **environ,
        }
        setup_testing_defaults(request)
        seen: list[tuple[str, list[tuple[str, str]]]] = []
        chunks = self._application(request, lambda status, headers, _=None: seen.append((status, headers)))  # type: ignore[arg-type]
        content = b"".join(chunks)
        status, headers = seen[0]
        return Answer(int(status.split()[0]), dict(headers), json.loads(content) if content else None)


class ServiceTestCase(unittest.TestCase):
    """A fresh, empty service for every test; each reading of its clock is a second later."""

    connection: sqlite3.Connection
    repository: {{ name }}Repository
    client: Client

    def setUp(self) -> None:
        """Open a database in memory."""
        self.connection = open_database(":memory:")
        self.addCleanup(self.connection.close)
        ticks = itertools.count()
        self.repository = {{ name }}Repository(self.connection, lambda: f"2026-01-01T00:00:{next(ticks):02}.000+00:00")
        self.client = Client(Application(self.repository))
