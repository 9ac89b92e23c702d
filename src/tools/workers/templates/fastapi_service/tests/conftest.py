"""What the tests share: a fresh, empty service for each, in memory unless a database is named."""

import itertools
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import orm

from {{ package }} import database, models, repository
from {{ package }}.app import create_app
from {{ package }}.settings import ENV_PREFIX, Settings

# Tests delete what is in this database.
DATABASE_URL = os.environ.get(f"{ENV_PREFIX}TEST_DATABASE_URL", "sqlite://")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(variable)


@pytest.fixture
def settings() -> Settings:
    """Settings with the tests' database."""
    return Settings(database_url=DATABASE_URL, max_body_bytes=10_000)


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    """An empty database without tables."""
    engine = database.open_engine(DATABASE_URL)
    yield engine
    with engine.begin() as connection:
        leftover = sa.MetaData()
        leftover.reflect(connection)
        leftover.drop_all(connection)
    engine.dispose()


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    """The application, with its tables."""
    app = create_app(settings)
    engine: sa.Engine = app.state.engine
    models.OrmBase.metadata.create_all(engine)
    yield app
    models.OrmBase.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client that calls the application without a socket."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[orm.Session]:
    """A transaction on an empty database with its tables."""
    models.OrmBase.metadata.create_all(engine)
    with orm.Session(engine) as session:
        yield session


@pytest.fixture
def records(
    session: orm.Session,
) -> repository.{{ name }}Repository:
    """A repository whose clock goes on by a second each time it is read."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = (start + timedelta(seconds=tick) for tick in itertools.count())
    return repository.{{ name }}Repository(session, lambda: next(times))
