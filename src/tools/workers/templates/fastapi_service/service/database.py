"""Connections and transactions."""

from collections.abc import Iterator
from typing import Annotated, Protocol

import sqlalchemy as sa
from fastapi import Depends, Request
from sqlalchemy import event, orm


class _Cursor(Protocol):
    def execute(self, statement: str, /) -> object: ...
    def close(self) -> object: ...


class _Connection(Protocol):
    def cursor(self) -> _Cursor: ...


def open_engine(url: str) -> sa.Engine:
    """Return the engine for a database URL; nothing is connected yet."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_pre_ping=True)
    if parsed.database in {None, "", ":memory:"}:
        # A database in memory is its one connection: requests take turns with it.
        engine = sa.create_engine(
            parsed,
            poolclass=sa.QueuePool,
            pool_size=1,
            max_overflow=0,
            connect_args={"check_same_thread": False},
        )
    else:
        engine = sa.create_engine(parsed)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: _Connection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # Readers and a writer do not wait for each other.
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def get_session(request: Request) -> Iterator[orm.Session]:
    """Give a request its transaction: committed if all went well, else rolled back."""
    sessions: orm.sessionmaker[orm.Session] = request.app.state.sessions
    with sessions.begin() as session:
        yield session


# The scope ends the transaction before the answer is sent: a commit that fails is an error to the client, too.
SessionDep = Annotated[orm.Session, Depends(get_session, scope="function")]
