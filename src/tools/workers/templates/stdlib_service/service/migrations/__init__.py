"""Numbered SQL files beside this one, each applied once and in order."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    name: str
    sql: str


class MigrationError(RuntimeError):
    """The migrations and the database do not fit together."""


def load(folder: Path = Path(__file__).parent) -> list[Migration]:
    """Read the migrations; their numbers must run from 1 without a gap."""
    migrations = []
    for path in sorted(folder.glob("[0-9]*.sql")):
        number, _, name = path.stem.partition("_")
        migrations.append(Migration(int(number), name, path.read_text(encoding="utf-8")))
    if [migration.number for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError("migration numbers must run from 1 without a gap")
    return migrations


def version(connection: sqlite3.Connection) -> int:
    """Return the number of the last migration that was applied; 0 before the first."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, migrations: list[Migration] | None = None) -> list[Migration]:
    """Apply what is missing and return it. A migration that fails leaves no trace."""
    migrations = load() if migrations is None else migrations
    current = version(connection)
    if current > len(migrations):
        raise MigrationError(f"the database is at version {current}, this program knows {len(migrations)}")
    pending = migrations[current:]
    for migration in pending:
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{migration.sql}\nPRAGMA user_version = {migration.number};\nCOMMIT;"
            )
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.rollback()
            raise MigrationError(f"migration {migration.number} ({migration.name}) failed: {error}") from error
    return pending
