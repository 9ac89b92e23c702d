"""The HTTP interface: requests become calls of the repository, what comes of them becomes answers."""

from http import HTTPStatus
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response

from . import database, models, repository, schemas

PREFIX = "/{{ plural }}"
ITEM = PREFIX + "/{record_id}"
MAX_LIMIT = 100
MAX_OFFSET = 2**31 - 1
MAX_ID = 2**63 - 1


def _problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    return {status.value: {"model": schemas.ProblemAnswer} for status in statuses}


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")


def _get_records(
    session: database.SessionDep,
) -> repository.{{ name }}Repository:
    return repository.{{ name }}Repository(session)


Records = Annotated[
    repository.{{ name }}Repository,
    Depends(_get_records),
]
RecordId = Annotated[int, Path(ge=1, le=MAX_ID)]

JSON_BODY = [Depends(_require_json)]
JSON_PROBLEMS = _problems(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
NOT_FOUND = _problems(HTTPStatus.NOT_FOUND)

router = APIRouter()


@router.get("/health", tags=["service"], responses=_problems(HTTPStatus.SERVICE_UNAVAILABLE))
def check_health(session: database.SessionDep) -> schemas.Health:
    """Tell whether the service is up and reaches its database."""
    try:
        session.execute(sa.select(1))
    except sa.exc.OperationalError:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the database cannot be reached") from None
    return schemas.Health()


@router.get(PREFIX, responses=_problems(HTTPStatus.BAD_REQUEST))
def list_{{ plural }}(
    records: Records,
    status: models.Status | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 20,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> schemas.{{ name }}Page:
    """List {{ human_plural }}, newest first."""
    found, total = records.page(status=status, limit=limit, offset=offset)
    items = [schemas.{{ name }}Read.model_validate(record) for record in found]
    return schemas.{{ name }}Page(items=items, total=total, limit=limit, offset=offset)


@router.post(PREFIX, status_code=HTTPStatus.CREATED, dependencies=JSON_BODY, responses=JSON_PROBLEMS)
def create_{{ human | replace(" ", "_") }}(
    records: Records,
    draft: schemas.{{ name }}Create,
    response: Response,
) -> schemas.{{ name }}Read:
    """Create {{ a_human }}."""
    record = records.create(draft)
    response.headers["Location"] = f"{PREFIX}/{record.id}"
    return schemas.{{ name }}Read.model_validate(record)


@router.get(ITEM, responses=NOT_FOUND)
def get_{{ human | replace(" ", "_") }}(
    records: Records,
    record_id: RecordId,
) -> schemas.{{ name }}Read:
    """Return one {{ human }}."""
    return schemas.{{ name }}Read.model_validate(records.get(record_id))


@router.put(ITEM, dependencies=JSON_BODY, responses=JSON_PROBLEMS | NOT_FOUND)
def replace_{{ human | replace(" ", "_") }}(
    records: Records,
    record_id: RecordId,
    draft: schemas.{{ name }}Create,
) -> schemas.{{ name }}Read:
    """Replace one {{ human }}; left-out fields get defaults."""
    record = records.update(record_id, draft.model_dump())
    return schemas.{{ name }}Read.model_validate(record)


@router.patch(ITEM, dependencies=JSON_BODY, responses=JSON_PROBLEMS | NOT_FOUND)
def change_{{ human | replace(" ", "_") }}(
    records: Records,
    record_id: RecordId,
    update: schemas.{{ name }}Update,
) -> schemas.{{ name }}Read:
    """Change the given fields of one {{ human }}."""
    changes = update.changes()
    record = records.update(record_id, changes) if changes else records.get(record_id)
    return schemas.{{ name }}Read.model_validate(record)


@router.delete(ITEM, status_code=HTTPStatus.NO_CONTENT, responses=NOT_FOUND)
def delete_{{ human | replace(" ", "_") }}(
    records: Records,
    record_id: RecordId,
) -> None:
    """Delete one {{ human }}."""
    records.delete(record_id)
