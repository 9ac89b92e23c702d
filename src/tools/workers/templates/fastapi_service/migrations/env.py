"""Runs migrations: on a connection that the caller gives, else on the database of the settings."""

from logging.config import fileConfig

import sqlalchemy as sa
from alembic import context

from {{ package }} import database, models
from {{ package }}.settings import Settings


def migrate_on(connection: sa.Connection) -> None:
    """Run them on this connection."""
    context.configure(
        connection=connection,
        target_metadata=models.OrmBase.metadata,
        # SQLite changes a table only by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def print_sql() -> None:
    """Print their SQL, for `alembic upgrade --sql`."""
    context.configure(
        url=Settings().database_url,
        target_metadata=models.OrmBase.metadata,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run() -> None:
    """Run them where the caller wants it."""
    connection = context.config.attributes.get("connection")
    if isinstance(connection, sa.Connection):
        migrate_on(connection)
        return
    if context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    if context.is_offline_mode():
        print_sql()
        return
    engine = database.open_engine(Settings().database_url)
    try:
        with engine.begin() as own:
            if own.dialect.name == "sqlite":
                # To change a table is to copy and drop it; that must not delete the rows of others that refer to it.
                own.exec_driver_sql("PRAGMA foreign_keys = OFF")
            migrate_on(own)
    finally:
        engine.dispose()


run()
