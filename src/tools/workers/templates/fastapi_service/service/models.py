"""The tables."""

from datetime import UTC, datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import orm

MAX_NAME = 200
MAX_DESCRIPTION = 2000


class Status(StrEnum):
    """Where {{ a_human }} is in its life."""

    DRAFT = "draft"
    ACTIVE = "active"
    ARCHIVED = "archived"


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A time with its zone, also where the database keeps none."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Store UTC."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a time needs a zone")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Read UTC; SQLite forgets the zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class OrmBase(orm.DeclarativeBase):
    """Base of the tables; it gives every constraint a name, so that migrations can refer to it."""

    metadata = sa.MetaData(
        naming_convention={
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        }
    )


class {{ name }}(OrmBase):
    """{{ a_human_upper }} as it is stored."""

    __tablename__ = "{{ plural }}"
    __table_args__ = (
        sa.CheckConstraint("length(name) > 0", name="name_not_empty"),
        sa.UniqueConstraint("name"),
        sa.Index(None, "status", "id"),
        # Numbers of deleted rows are not given again.
        {"sqlite_autoincrement": True},
    )

    id: orm.Mapped[int] = orm.mapped_column(
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        sa.Identity(),
        primary_key=True,
    )
    name: orm.Mapped[str] = orm.mapped_column(sa.String(MAX_NAME))
    description: orm.Mapped[str] = orm.mapped_column(sa.Text(), server_default="")
    status: orm.Mapped[Status] = orm.mapped_column(
        sa.Enum(
            Status,
            name="status",
            native_enum=False,
            create_constraint=True,
            length=16,
            values_callable=lambda statuses: [status.value for status in statuses],
        ),
        server_default=Status.DRAFT.value,
    )
    created_at: orm.Mapped[datetime] = orm.mapped_column(UtcDateTime())
    updated_at: orm.Mapped[datetime] = orm.mapped_column(UtcDateTime())
