"""Groups of people: files and folders are granted to them as to one person. Groups hold people, never groups."""

from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ForeignKey, Index, Integer, Select, String, bindparam, func, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import BIG, SORTED, Moment, Record, any_state, live
from webapp.models.users import User


class Group(Record, Base):
    """A group. `name_key` is the name by NFC and case-folded: unique among the living, and the order of lists."""

    __tablename__ = "groups"
    __table_args__ = (
        Index("uq_groups_name_key", "name_key", unique=True,
              sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL")),
    )  # fmt: skip

    name: Mapped[str] = mapped_column(String(80))
    name_key: Mapped[str] = mapped_column(SORTED)
    about: Mapped[str] = mapped_column(String(300), default="")


class GroupMember(Base):
    """Somebody in a group; a `manager` of it changes who else is. Ends with the row."""

    __tablename__ = "group_members"
    __table_args__ = (Index("ix_group_members_user_id", "user_id"),)

    group_id: Mapped[int] = mapped_column(BIG, ForeignKey("groups.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"), primary_key=True)
    manager: Mapped[bool] = mapped_column(Boolean)
    added_at: Mapped[Moment]
    version: Mapped[int] = mapped_column(Integer)


_people = live(User, func.count(User.id)).join(GroupMember, GroupMember.user_id == User.id)
_MEMBERS = _people.where(GroupMember.group_id == Group.id).correlate(Group).scalar_subquery()
_COLUMNS = (Group.id.label("row_id"), Group.uuid, Group.name, Group.name_key, Group.about, Group.created_at,
            Group.updated_at, Group.version, _MEMBERS.label("members"), GroupMember.manager)  # fmt: skip


def live_groups(user_id: int) -> Select[Any]:
    """Columns of all groups; `manager` is None where this user is no member."""
    mine = (GroupMember.group_id == Group.id) & (GroupMember.user_id == user_id)
    return live(Group, *_COLUMNS).outerjoin(GroupMember, mine)


def live_group(group_id: UUID) -> Select[Group]:
    """One group, held until the transaction ends: so its members change one after the other."""
    return live(Group).where(Group.uuid == group_id).with_for_update()


def any_membership(group_id: int, user_id: int) -> Select[GroupMember]:
    """The membership of one person, if there is one."""
    return any_state(GroupMember).where(GroupMember.group_id == group_id, GroupMember.user_id == user_id)


def live_members(group_id: UUID) -> Select[Any]:
    """Columns of the members of a living group whose accounts live."""
    columns = (User.id.label("row_id"), User.uuid, User.name, User.email, GroupMember.manager, GroupMember.added_at,
               GroupMember.version)  # fmt: skip
    chosen = live(Group, *columns).join(GroupMember, GroupMember.group_id == Group.id)
    return chosen.join(User, User.id == GroupMember.user_id).where(Group.uuid == group_id, User.deleted_at.is_(None))


def live_groups_of() -> Select[Any]:
    """Names of the living groups of the user `user_id`, and whether they manage them."""
    chosen = live(Group, Group.name, GroupMember.manager, GroupMember.added_at)
    chosen = chosen.join(GroupMember, GroupMember.group_id == Group.id)
    return chosen.where(GroupMember.user_id == bindparam("user_id")).order_by(Group.name_key)
