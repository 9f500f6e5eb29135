"""The mixin of every business table, and the only places where a select or a set-based update begins.

`live(X)` leaves soft-deleted rows out. Whoever wants them says `any_state(X)` in a function named deleted_… or any_….
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import JSON, BigInteger, DateTime, FromClause, Integer, Select, String, Uuid, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, declared_attr, mapped_column
from sqlalchemy.sql.dml import Update
from sqlalchemy.types import TypeDecorator
from uuid_utils.compat import uuid7

from webapp.infra.clock import now
from webapp.infra.ids import next_id

BIG = BigInteger().with_variant(Integer, "sqlite")
SORTED = String(400).with_variant(String(400, collation="C"), "postgresql")  # the same order on every database
DOCUMENT = JSON().with_variant(JSONB, "postgresql")


class Instant(TypeDecorator[datetime]):
    """timestamptz on PostgreSQL, UTC text on SQLite; always an aware UTC datetime in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("naive datetime")
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value if value is None or value.tzinfo is not None else value.replace(tzinfo=UTC)


BigInt = Annotated[int, mapped_column(BIG)]
Moment = Annotated[datetime, mapped_column(Instant)]
MaybeMoment = Annotated[datetime | None, mapped_column(Instant)]
Document = Annotated[dict[str, Any], mapped_column(DOCUMENT)]


class Record:
    """Snowflake id, public uuid, timestamps, soft delete, optimistic version (a stale flush raises Stale)."""

    id: Mapped[int] = mapped_column(BIG, primary_key=True, default=next_id, autoincrement=False)
    uuid: Mapped[UUID] = mapped_column(Uuid, unique=True, default=uuid7)
    created_at: Mapped[datetime] = mapped_column(Instant, default=now)
    updated_at: Mapped[datetime] = mapped_column(Instant, default=now, onupdate=now)
    deleted_at: Mapped[datetime | None] = mapped_column(Instant, default=None)
    version: Mapped[int] = mapped_column(Integer, default=1)

    @declared_attr.directive
    @classmethod
    def __mapper_args__(cls) -> dict[str, Any]:
        return {"version_id_col": cls.version}

    __allow_unmapped__: ClassVar[bool] = True


def live(model: type[Any], *columns: Any) -> Select[Any]:
    """A select of the model (or of these columns of it) without soft-deleted rows."""
    return select(*columns or (model,)).select_from(model).where(model.deleted_at.is_(None))


def any_state(model: type[Any] | FromClause, *columns: Any) -> Select[Any]:
    """A select that sees soft-deleted rows, or of a table that has none."""
    return select(*columns or (model,)).select_from(model)


def change_rows(model: type[Any], *criteria: Any, **values: Any) -> Update:
    """A set-based update of a Record that raises version and updated_at as a flush would."""
    return update(model).where(*criteria).values(version=model.version + 1, updated_at=now(), **values)
