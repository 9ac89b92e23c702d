"""The repository and the migrations."""

import sqlite3
import tempfile
import unittest
from pathlib import Path

from {{ package }}.migrations import Migration, MigrationError, load, migrate, version
from {{ package }}.models import {{ name }}Draft, Status
from {{ package }}.storage import {{ name }}Repository, NotFoundError, open_database
from tests.support import ServiceTestCase


class RepositoryTest(ServiceTestCase):
    """What is stored comes back."""

    def test_create_gives_ids_and_times(self) -> None:
        first = self.repository.create({{ name }}Draft("First"))
        second = self.repository.create({{ name }}Draft("Second"))
        self.assertEqual((first.id, second.id), (1, 2))
        self.assertEqual(first.created_at, first.updated_at)
        self.assertEqual(self.repository.get(1), first)

    def test_ids_are_not_used_twice(self) -> None:
        self.repository.create({{ name }}Draft("First"))
        self.repository.delete(1)
        self.assertEqual(self.repository.create({{ name }}Draft("Second")).id, 2)

    def test_update_changes_the_fields_and_one_time(self) -> None:
        before = self.repository.create({{ name }}Draft("First"))
        after = self.repository.update(before.id, {{ name }}Draft("Other", "text", Status.ACTIVE))
        self.assertEqual((after.name, after.description, after.status), ("Other", "text", Status.ACTIVE))
        self.assertEqual(after.created_at, before.created_at)
        self.assertGreater(after.updated_at, before.updated_at)

    def test_what_is_missing_is_told(self) -> None:
        for act in (
            lambda: self.repository.get(1),
            lambda: self.repository.update(1, {{ name }}Draft("First")),
            lambda: self.repository.delete(1),
        ):
            with self.assertRaises(NotFoundError):
                act()

    def test_list_filters_pages_and_counts(self) -> None:
        for number in range(5):
            status = Status.ACTIVE if number % 2 else Status.DRAFT
            self.repository.create({{ name }}Draft(f"No {number}", status=status))
        page = self.repository.list(limit=2, offset=1)
        self.assertEqual(([item.name for item in page.items], page.total), (["No 3", "No 2"], 5))
        self.assertEqual(self.repository.list(status=Status.ACTIVE).total, 2)

    def test_text_is_never_sql(self) -> None:
        name = "x'); DROP TABLE {{ plural }}; --"
        self.assertEqual(self.repository.create({{ name }}Draft(name)).name, name)
        self.assertEqual(self.repository.list().total, 1)

    def test_a_file_keeps_the_data(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "data.db")
            connection = open_database(path)
            {{ name }}Repository(connection).create({{ name }}Draft("Kept"))
            connection.close()
            connection = open_database(path)
            self.assertEqual({{ name }}Repository(connection).get(1).name, "Kept")
            connection.close()


class MigrationTest(unittest.TestCase):
    """The schema grows step by step."""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.addCleanup(self.connection.close)

    def test_each_runs_once(self) -> None:
        self.assertEqual(migrate(self.connection), load())
        self.assertEqual(version(self.connection), len(load()))
        self.assertEqual(migrate(self.connection), [])

    def test_a_failing_one_leaves_no_trace(self) -> None:
        bad = [Migration(1, "bad", "CREATE TABLE a (x); CREATE TABLE a (x);")]
        with self.assertRaisesRegex(MigrationError, "migration 1"):
            migrate(self.connection, bad)
        self.assertEqual(version(self.connection), 0)
        self.assertEqual(self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0], 0)

    def test_a_newer_database_is_refused(self) -> None:
        self.connection.execute("PRAGMA user_version = 99")
        with self.assertRaisesRegex(MigrationError, "99"):
            migrate(self.connection)

    def test_a_gap_in_the_numbers_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "0002_late.sql").write_text("SELECT 1;", encoding="utf-8")
            with self.assertRaisesRegex(MigrationError, "gap"):
                load(Path(folder))


if __name__ == "__main__":
    unittest.main()
