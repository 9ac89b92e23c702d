"""The repository: what is stored comes back."""

import sqlite3

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from {{ package }} import models, repository, schemas

Record = models.{{ name }}
Create = schemas.{{ name }}Create
Records = repository.{{ name }}Repository


def test_create_gives_ids_and_times(records: Records, session: orm.Session) -> None:
    first = records.create(Create(name="First"))
    second = records.create(Create(name="Second"))
    assert second.id > first.id
    assert first.created_at == first.updated_at < second.created_at
    session.expire_all()
    assert records.get(first.id).name == "First"


def test_ids_are_not_used_twice(records: Records) -> None:
    first = records.create(Create(name="First")).id
    records.delete(first)
    assert records.create(Create(name="Second")).id > first


def test_update_changes_the_given_fields_and_one_time(records: Records) -> None:
    record = records.create(Create(name="First", description="text"))
    created_at = record.created_at
    after = records.update(record.id, {"status": models.Status.ACTIVE})
    assert (after.name, after.description, after.status) == ("First", "text", models.Status.ACTIVE)
    assert after.created_at == created_at < after.updated_at


def test_other_records_are_left_alone(records: Records) -> None:
    first, second, third = (records.create(Create(name=name)).id for name in ("First", "Second", "Third"))
    records.update(second, {"description": "text"})
    assert [record.description for record in records.page()[0]] == ["", "text", ""]
    records.delete(second)
    assert [record.id for record in records.page()[0]] == [third, first]


def test_what_is_missing_is_told(records: Records) -> None:
    with pytest.raises(repository.NotFoundError):
        records.get(1)
    with pytest.raises(repository.NotFoundError):
        records.update(1, {"name": "x"})
    with pytest.raises(repository.NotFoundError):
        records.delete(1)


def test_two_of_a_name_are_a_conflict(records: Records) -> None:
    records.create(Create(name="First"))
    with pytest.raises(repository.ConflictError):
        records.create(Create(name="First"))


def test_other_broken_constraints_are_no_conflict(records: Records) -> None:
    record = records.create(Create(name="First"))
    with pytest.raises(sa.exc.IntegrityError, match="name_not_empty"):
        records.update(record.id, {"name": ""})


def test_page_filters_and_counts(records: Records) -> None:
    for number in range(5):
        status = models.Status.ACTIVE if number % 2 else models.Status.DRAFT
        records.create(Create(name=f"No {number}", status=status))
    found, total = records.page(limit=2, offset=1)
    assert ([record.name for record in found], total) == (["No 3", "No 2"], 5)
    assert records.page(status=models.Status.ACTIVE)[1] == 2
    assert records.page(offset=9) == ([], 5)


def test_text_is_never_sql(records: Records) -> None:
    name = "x'); DROP TABLE {{ plural }}; --"
    assert records.create(Create(name=name)).name == name
    assert records.page()[1] == 1


@pytest.mark.parametrize("status", ["gone", "DRAFT"])
def test_the_table_refuses_a_status_that_is_none(records: Records, session: orm.Session, status: str) -> None:
    records.create(Create(name="First"))
    statement = sa.update(Record).values(status=sa.literal_column(f"'{status}'"))
    with pytest.raises(sa.exc.IntegrityError):
        session.execute(statement)


def test_times_without_a_zone_are_refused(records: Records, session: orm.Session) -> None:
    record = records.create(Create(name="First"))
    record.updated_at = record.updated_at.replace(tzinfo=None)
    with pytest.raises(sa.exc.StatementError, match="zone"):
        session.flush()


def test_unique_violations_of_both_drivers_are_known() -> None:
    class PostgresError(Exception):
        sqlstate = "23505"

    of_sqlite = sqlite3.IntegrityError()
    of_sqlite.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT_UNIQUE
    assert repository.is_unique_violation(of_sqlite)
    assert repository.is_unique_violation(PostgresError())
    of_sqlite.sqlite_errorcode = sqlite3.SQLITE_CONSTRAINT_CHECK
    assert not repository.is_unique_violation(of_sqlite)
    assert not repository.is_unique_violation(ValueError())
