"""How errors look to clients: `{"error": {"code": ..., "message": ..., "fields": ...}}`."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from . import repository, schemas

_CODES: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "bad_json",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "media_type",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

_log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Give every error of the application the same form."""
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.exception_handler(repository.NotFoundError)(_on_missing)
    app.exception_handler(repository.ConflictError)(_on_conflict)
    app.exception_handler(Exception)(_on_failure)


def _answer(
    status: int,
    code: str,
    message: str,
    *,
    fields: dict[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    problem = schemas.Problem(code=code, message=message, fields=fields)
    content = schemas.ProblemAnswer(error=problem).model_dump(exclude_none=True)
    return JSONResponse(content, status_code=status, headers=headers)


async def _on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    code = _CODES.get(error.status_code, "refused")
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_methods_here(request))}
    return _answer(error.status_code, code, error.detail, headers=headers)


def _methods_here(request: Request) -> list[str]:
    """Return what the routes at a request's path take, all of them together."""

    def taken(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in _METHODS if taken(method)]


async def _on_invalid_request(_request: Request, error: RequestValidationError) -> JSONResponse:
    problems = error.errors()
    places = {problem["loc"][0] for problem in problems}
    if "path" in places:
        return _answer(HTTPStatus.NOT_FOUND, "not_found", "there is nothing at this path")
    if "query" in places:
        told = "; ".join(f"{_field(problem['loc'])}: {problem['msg']}" for problem in problems)
        return _answer(HTTPStatus.BAD_REQUEST, "bad_query", told)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return _answer(HTTPStatus.BAD_REQUEST, "bad_json", "the body is not valid JSON")
    fields = {_field(problem["loc"]): str(problem["msg"]) for problem in problems}
    return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "some fields are not valid", fields=fields)


def _field(place: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in place[1:]) or str(place[0])


async def _on_missing(_request: Request, error: repository.NotFoundError) -> JSONResponse:
    return _answer(HTTPStatus.NOT_FOUND, "not_found", str(error))


async def _on_conflict(_request: Request, error: repository.ConflictError) -> JSONResponse:
    return _answer(HTTPStatus.CONFLICT, "conflict", str(error))


async def _on_failure(request: Request, error: Exception) -> JSONResponse:
    # What failed is for the log; the client learns nothing of it.
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the request failed")
