"""The WSGI application: JSON in, JSON out.

It turns requests into calls of the repository and what comes of them into
responses; it holds no rules about fields and no SQL.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from {{ package }}.models import {{ name }}Draft, ValidationError, parse_status
from {{ package }}.storage import {{ name }}Repository, NotFoundError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

MAX_BODY = 64 * 1024
MAX_LIMIT = 100
DEFAULT_LIMIT = 20

_COLLECTION = re.compile(r"/{{ plural }}/?")
_ITEM = re.compile(r"/{{ plural }}/([1-9][0-9]{0,17})")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back to the client."""

    status: HTTPStatus
    body: object = None
    headers: list[tuple[str, str]] = field(default_factory=list)


class ApiError(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        message: str,
        *,
        fields: dict[str, str] | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.fields = fields
        self.headers = headers or []

    def response(self) -> Response:
        """Return the error as the client sees it."""
        error: dict[str, object] = {"code": self.code, "message": str(self)}
        if self.fields:
            error["fields"] = self.fields
        return Response(self.status, {"error": error}, self.headers)


class Application:
    """Serves one repository."""

    def __init__(self, repository: {{ name }}Repository) -> None:
        self._repository = repository

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        response = self._respond(environ)
        body = b"" if response.body is None else json.dumps(response.body).encode()
        headers = [*response.headers, ("Content-Length", str(len(body)))]
        if response.body is not None:
            headers.append(("Content-Type", "application/json"))
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        return [body]

    def _respond(self, environ: WSGIEnvironment) -> Response:
        try:
            return self._route(environ)
        except ApiError as error:
            return error.response()
        except ValidationError as error:
            return ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "some fields are not valid", fields=error.fields
            ).response()
        except NotFoundError as error:
            return ApiError(HTTPStatus.NOT_FOUND, "not_found", str(error)).response()
        except Exception:
            _log.exception("request failed")
            return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the request failed").response()

    def _route(self, environ: WSGIEnvironment) -> Response:
        path = environ.get("PATH_INFO", "") or "/"
        if path == "/health":
            return _dispatch(environ, {"GET": lambda: Response(HTTPStatus.OK, {"status": "ok"})})
        if _COLLECTION.fullmatch(path):
            return _dispatch(environ, {"GET": lambda: self._list(environ), "POST": lambda: self._create(environ)})
        if match := _ITEM.fullmatch(path):
            record_id = int(match[1])
            return _dispatch(
                environ,
                {
                    "GET": lambda: self._get(record_id),
                    "PUT": lambda: self._replace(environ, record_id),
                    "PATCH": lambda: self._change(environ, record_id),
                    "DELETE": lambda: self._delete(record_id),
                },
            )
        raise ApiError(HTTPStatus.NOT_FOUND, "not_found", "there is nothing at this path")

    def _list(self, environ: WSGIEnvironment) -> Response:
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        limit = _number(query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        offset = _number(query, "offset", 0, 0, 2**31)
        try:
            status = parse_status(query["status"][-1]) if "status" in query else None
        except ValueError as error:
            raise ApiError(HTTPStatus.BAD_REQUEST, "bad_query", f"status {error}") from None
        page = self._repository.list(status=status, limit=limit, offset=offset)
        items = [item.to_json() for item in page.items]
        return Response(HTTPStatus.OK, {"items": items, "total": page.total, "limit": limit, "offset": offset})

    def _create(self, environ: WSGIEnvironment) -> Response:
        created = self._repository.create({{ name }}Draft.from_json(_body(environ)))
        return Response(HTTPStatus.CREATED, created.to_json(), [("Location", f"/{{ plural }}/{created.id}")])

    def _get(self, record_id: int) -> Response:
        return Response(HTTPStatus.OK, self._repository.get(record_id).to_json())

    def _replace(self, environ: WSGIEnvironment, record_id: int) -> Response:
        draft = {{ name }}Draft.from_json(_body(environ))
        return Response(HTTPStatus.OK, self._repository.update(record_id, draft).to_json())

    def _change(self, environ: WSGIEnvironment, record_id: int) -> Response:
        draft = self._repository.get(record_id).draft().changed_by(_body(environ))
        return Response(HTTPStatus.OK, self._repository.update(record_id, draft).to_json())

    def _delete(self, record_id: int) -> Response:
        self._repository.delete(record_id)
        return Response(HTTPStatus.NO_CONTENT)


def _dispatch(environ: WSGIEnvironment, handlers: dict[str, Callable[[], Response]]) -> Response:
    handler = handlers.get(environ.get("REQUEST_METHOD", "GET"))
    if handler is None:
        raise ApiError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this path does not take that method",
            headers=[("Allow", ", ".join(sorted(handlers)))],
        )
    return handler()


def _body(environ: WSGIEnvironment) -> object:
    content_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media_type", "the body must be application/json")
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_length", "Content-Length is not a number") from None
    if length > MAX_BODY:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"the body has more than {MAX_BODY} bytes")
    try:
        return json.loads(environ["wsgi.input"].read(max(length, 0)))
    except (ValueError, RecursionError):
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_json", "the body is not valid JSON") from None


def _number(query: dict[str, list[str]], name: str, default: int, least: int, most: int) -> int:
    if name not in query:
        return default
    text = query[name][-1]
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise ApiError(HTTPStatus.BAD_REQUEST, "bad_query", f"{name} must be a number from {least} to {most}")
    return int(text)
