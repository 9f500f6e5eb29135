"""Grants: what somebody, or everybody of a group, may do with one file, or with a folder and all that lies in it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, Select, SmallInteger, or_, text
from sqlalchemy.orm import Mapped, aliased, mapped_column

from webapp.db import Base
from webapp.models.groups import Group
from webapp.models.record import BigInt, MaybeMoment, Record, live
from webapp.models.users import User

LIVING: dict[str, Any] = {"sqlite_where": text("deleted_at IS NULL"), "postgresql_where": text("deleted_at IS NULL")}


class Grant(Record, Base):
    """One level for one person or group on one object. `level` is a number of policies.Level, so the highest counts."""

    __tablename__ = "grants"
    __table_args__ = (
        CheckConstraint("(folder_id IS NULL) <> (file_id IS NULL)", name="object"),
        CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="grantee"),
        Index("uq_grants_folder_user", "folder_id", "user_id", unique=True, **LIVING),
        Index("uq_grants_folder_group", "folder_id", "group_id", unique=True, **LIVING),
        Index("uq_grants_file_user", "file_id", "user_id", unique=True, **LIVING),
        Index("uq_grants_file_group", "file_id", "group_id", unique=True, **LIVING),
        Index("ix_grants_user_id", "user_id"),
        Index("ix_grants_group_id", "group_id"),
    )

    folder_id: Mapped[BigInt | None] = mapped_column(ForeignKey("folders.id", ondelete="CASCADE"))
    file_id: Mapped[BigInt | None] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"))
    user_id: Mapped[BigInt | None] = mapped_column(ForeignKey("users.id"))
    group_id: Mapped[BigInt | None] = mapped_column(ForeignKey("groups.id"))
    level: Mapped[int] = mapped_column(SmallInteger)
    expires_at: Mapped[MaybeMoment]
    grantor_id: Mapped[BigInt | None] = mapped_column(ForeignKey("users.id"))


_grantor = aliased(User)
COLUMNS = (Grant.id.label("row_id"), Grant.uuid, Grant.level, Grant.expires_at, Grant.created_at, Grant.version,
           Grant.folder_id, Grant.file_id, Grant.user_id, Grant.group_id, User.uuid.label("user_uuid"),
           User.name.label("user_name"), User.email, Group.uuid.label("group_uuid"), Group.name.label("group_name"),
           _grantor.name.label("grantor"))  # fmt: skip


def in_force(moment: datetime) -> ColumnElement[bool]:
    """Whether a grant is not over by then."""
    return or_(Grant.expires_at.is_(None), Grant.expires_at > moment)


def live_grants(*criteria: ColumnElement[bool]) -> Select[Any]:
    """Columns of grants whose grantee lives, with the words for them, in the order in which they were made."""
    chosen = live(Grant, *COLUMNS).outerjoin(User, (User.id == Grant.user_id) & User.deleted_at.is_(None))
    chosen = chosen.outerjoin(Group, (Group.id == Grant.group_id) & Group.deleted_at.is_(None))
    chosen = chosen.outerjoin(_grantor, _grantor.id == Grant.grantor_id)
    return chosen.where(or_(User.id.is_not(None), Group.id.is_not(None)), *criteria).order_by(Grant.id)


def live_grant(*criteria: ColumnElement[bool]) -> Select[Grant]:
    """The one grant of an object and a grantee."""
    return live(Grant).where(*criteria)


def live_user_uuid(user_id: UUID) -> Select[User]:
    """A living account by its public id."""
    return live(User).where(User.uuid == user_id)
