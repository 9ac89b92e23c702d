"""Reading and writing {{ human_plural }} in SQLite.

Values reach SQL only as bound parameters.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from {{ package }}.migrations import migrate
from {{ package }}.models import {{ name }}, {{ name }}Draft, Status

_COLUMNS = "id, name, description, status, created_at, updated_at"


class NotFoundError(LookupError):
    """There is no {{ human }} of that id."""

    def __init__(self, record_id: int) -> None:
        super().__init__(f"there is no {{ human }} {record_id}")


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and how long the whole list is."""

    items: list[{{ name }}]
    total: int


def open_database(path: str) -> sqlite3.Connection:
    """Open the database at ``path``, or one in memory, and bring its schema up to date."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        migrate(connection)
    except Exception:
        connection.close()
        raise
    return connection


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class {{ name }}Repository:
    """All {{ human_plural }} of one database."""

    def __init__(self, connection: sqlite3.Connection, now: Callable[[], str] = _now) -> None:
        self._connection = connection
        self._now = now

    def create(self, draft: {{ name }}Draft) -> {{ name }}:
        """Store a new {{ human }} and return it with its id."""
        now = self._now()
        with self._connection:
            cursor = self._connection.execute(
                'INSERT INTO "{{ plural }}" (name, description, status, created_at, updated_at) VALUES (?, ?, ?, ?, ?)',
                (draft.name, draft.description, draft.status, now, now),
            )
        return self.get(cursor.lastrowid or 0)

    def get(self, record_id: int) -> {{ name }}:
        """Return one {{ human }}, or raise :class:`NotFoundError`."""
        row = self._connection.execute(f'SELECT {_COLUMNS} FROM "{{ plural }}" WHERE id = ?', (record_id,)).fetchone()
        if row is None:
            raise NotFoundError(record_id)
        return _from_row(row)

    def list(self, *, status: Status | None = None, limit: int = 20, offset: int = 0) -> Page:
        """Return {{ human_plural }}, the newest first."""
        where, values = ("", ()) if status is None else (" WHERE status = ?", (status,))
        total = self._connection.execute(f'SELECT count(*) FROM "{{ plural }}"{where}', values).fetchone()[0]
        rows = self._connection.execute(
            f'SELECT {_COLUMNS} FROM "{{ plural }}"{where} ORDER BY id DESC LIMIT ? OFFSET ?',
            (*values, limit, offset),
        )
        return Page([_from_row(row) for row in rows], total)

    def update(self, record_id: int, draft: {{ name }}Draft) -> {{ name }}:
        """Replace what a client may change, or raise :class:`NotFoundError`."""
        with self._connection:
            cursor = self._connection.execute(
                'UPDATE "{{ plural }}" SET name = ?, description = ?, status = ?, updated_at = ? WHERE id = ?',
                (draft.name, draft.description, draft.status, self._now(), record_id),
            )
        if cursor.rowcount == 0:
            raise NotFoundError(record_id)
        return self.get(record_id)

    def delete(self, record_id: int) -> None:
        """Delete one {{ human }}, or raise :class:`NotFoundError`."""
        with self._connection:
            cursor = self._connection.execute('DELETE FROM "{{ plural }}" WHERE id = ?', (record_id,))
        if cursor.rowcount == 0:
            raise NotFoundError(record_id)


def _from_row(row: sqlite3.Row) -> {{ name }}:
    return {{ name }}(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        status=Status(row["status"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
