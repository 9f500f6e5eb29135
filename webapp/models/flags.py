"""Feature flags as administrators set them: a row for each one that somebody changed or that was asked for."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Integer, Select, String, Text, Update, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import Insert

from webapp.db import Base
from webapp.infra.ids import next_id
from webapp.models.groups import Group
from webapp.models.record import DOCUMENT, MaybeMoment, Record, live
from webapp.models.users import User


class Flag(Record, Base):
    """One flag. `people` and `groups` hold internal ids; `asked_at` is when code asked for it last, by the minute."""

    __tablename__ = "flags"

    name: Mapped[str] = mapped_column(String(40), unique=True)
    enabled: Mapped[bool | None] = mapped_column(Boolean)  # None: as the code declares
    percentage: Mapped[int] = mapped_column(Integer, default=100)
    people: Mapped[list[int]] = mapped_column(DOCUMENT, default=list)
    groups: Mapped[list[int]] = mapped_column(DOCUMENT, default=list)
    starts_at: Mapped[MaybeMoment]
    ends_at: Mapped[MaybeMoment]
    notes: Mapped[str] = mapped_column(Text, default="")
    asked_at: Mapped[MaybeMoment]


def live_flags() -> Select[Any]:
    """Columns of all flags that have a row."""
    return live(Flag, *Flag.__table__.columns)


def live_flag(name: str) -> Select[Flag]:
    """One flag, held still until the transaction ends."""
    return live(Flag).where(Flag.name == name).with_for_update()


def first_flag(dialect: str, name: str, asked_at: datetime | None = None) -> Insert:
    """Insert its row as declared, unless it is there."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    row = insert(Flag).values(id=next_id(), name=name, enabled=None, asked_at=asked_at)
    return row.on_conflict_do_nothing(index_elements=["name"])


def flag_asked(name: str, moment: datetime) -> Update:
    """Note that it was asked for. Leaves the version alone: what code does must not make a form stale."""
    row = update(Flag).where(Flag.name == name).values(asked_at=moment, updated_at=Flag.updated_at)
    return row.execution_options(synchronize_session=False)


def live_people(emails: Collection[str]) -> Select[Any]:
    """(id, email_key) of the accounts with these addresses."""
    return live(User, User.id, User.email_key).where(User.email_key.in_(list(emails)))


def live_named_groups(uuids: Collection[UUID]) -> Select[Any]:
    """(id, uuid) of these groups."""
    return live(Group, Group.id, Group.uuid).where(Group.uuid.in_(list(uuids)))


def live_chosen(people: Collection[int], groups: Collection[int]) -> tuple[Select[Any], Select[Any]]:
    """(id, uuid, name, email) of the people and (id, uuid, name) of the groups that are still there."""
    who = (
        live(User, User.id, User.uuid, User.name, User.email).where(User.id.in_(list(people))).order_by(User.email_key)
    )
    which = live(Group, Group.id, Group.uuid, Group.name).where(Group.id.in_(list(groups))).order_by(Group.name_key)
    return who, which
