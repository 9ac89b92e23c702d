"""Engines: what is in a file stays, and requests may come at the same time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from {{ package }} import database, models
from {{ package }}.app import create_app
from {{ package }}.settings import Settings

URL = "/{{ plural }}"


@pytest.fixture
def file_url(tmp_path: Path) -> Iterator[str]:
    """A database in a file, with its tables."""
    url = f"sqlite:///{tmp_path / 'data.db'}"
    engine = database.open_engine(url)
    models.OrmBase.metadata.create_all(engine)
    yield url
    engine.dispose()


def test_files_are_opened_for_readers_beside_a_writer(file_url: str) -> None:
    engine = database.open_engine(file_url)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
    engine.dispose()


def test_a_file_keeps_the_data(file_url: str) -> None:
    with TestClient(create_app(Settings(database_url=file_url))) as client:
        place = client.post(URL, json={"name": "Kept"}).headers["Location"]
    with TestClient(create_app(Settings(database_url=file_url))) as client:
        assert client.get(place).json()["name"] == "Kept"


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_requests_at_the_same_time(file_url: str, kind: str) -> None:
    app = create_app(Settings(database_url=file_url if kind == "file" else "sqlite://"))
    models.OrmBase.metadata.create_all(app.state.engine)
    with TestClient(app) as client, ThreadPoolExecutor(4) as threads:
        answers = threads.map(lambda number: client.post(URL, json={"name": f"No {number % 10}"}), range(20))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [201] * 10 + [409] * 10
        assert client.get(URL).json()["total"] == 10


def test_postgres_is_not_connected_before_it_is_needed() -> None:
    pytest.importorskip("psycopg")
    engine = database.open_engine("postgresql+psycopg://user@localhost/name")
    assert isinstance(engine.pool, sa.QueuePool)
    assert engine.pool.checkedin() == 0
    engine.dispose()
