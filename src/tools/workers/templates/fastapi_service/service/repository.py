"""Reading and writing, within the caller's transaction."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from . import models, schemas

_POSTGRES_UNIQUE_VIOLATION = "23505"


class NotFoundError(LookupError):
    """There is no {{ human }} of that id."""

    def __init__(self, record_id: int) -> None:
        super().__init__(f"there is no {{ human }} {record_id}")


class ConflictError(Exception):
    """Another {{ human }} has that name."""

    def __init__(self) -> None:
        super().__init__("another {{ human }} has that name")


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class {{ name }}Repository:
    """All {{ human_plural }}, as one transaction sees them."""

    def __init__(self, session: orm.Session, now: Callable[[], datetime] = utc_now) -> None:
        self._session = session
        self._now = now

    def create(
        self,
        draft: schemas.{{ name }}Create,
    ) -> models.{{ name }}:
        """Store a new {{ human }}, or raise `ConflictError`."""
        now = self._now()
        record = models.{{ name }}(**draft.model_dump(), created_at=now, updated_at=now)
        self._session.add(record)
        with _conflicts_told():
            self._session.flush()
        return record

    def get(self, record_id: int) -> models.{{ name }}:
        """Return one {{ human }}, or raise `NotFoundError`."""
        record = self._session.get(models.{{ name }}, record_id)
        if record is None:
            raise NotFoundError(record_id)
        return record

    def page(
        self,
        *,
        status: models.Status | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> tuple[Sequence[models.{{ name }}], int]:
        """Return a part of the list, newest first, and the length of the whole list."""
        chosen = [] if status is None else [models.{{ name }}.status == status]
        count = sa.select(sa.func.count()).select_from(models.{{ name }})
        rows = sa.select(models.{{ name }}).limit(limit).offset(offset)
        rows = rows.order_by(models.{{ name }}.id.desc())
        total = self._session.scalar(count.where(*chosen)) or 0
        return self._session.scalars(rows.where(*chosen)).all(), total

    def update(self, record_id: int, changes: Mapping[str, Any]) -> models.{{ name }}:
        """Change the given fields, or raise `NotFoundError` or `ConflictError`."""
        # One statement, so that nothing can come between reading and writing.
        statement = sa.update(models.{{ name }}).values(**changes, updated_at=self._now())
        statement = statement.where(models.{{ name }}.id == record_id)
        with _conflicts_told():
            changed = self._session.scalars(statement.returning(models.{{ name }}))
        record = changed.one_or_none()
        if record is None:
            raise NotFoundError(record_id)
        return record

    def delete(self, record_id: int) -> None:
        """Delete one {{ human }}, or raise `NotFoundError`."""
        statement = sa.delete(models.{{ name }})
        statement = statement.where(models.{{ name }}.id == record_id)
        deleted = self._session.scalars(statement.returning(models.{{ name }}.id))
        if deleted.one_or_none() is None:
            raise NotFoundError(record_id)


@contextmanager
def _conflicts_told() -> Iterator[None]:
    try:
        yield
    except sa.exc.IntegrityError as error:
        if is_unique_violation(error.orig):
            raise ConflictError from error
        raise


def is_unique_violation(error: BaseException | None) -> bool:
    """Tell whether a driver's error is about a value that must be unique."""
    if isinstance(error, sqlite3.Error):
        return error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE
    return getattr(error, "sqlstate", None) == _POSTGRES_UNIQUE_VIOLATION
