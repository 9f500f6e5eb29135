"""Who is in a group. Its managers change that without any permission but their own account's."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import tuple_

from webapp.db import after_commit, db, read_row, read_rows, transactional
from webapp.errors import Invalid, Missing
from webapp.infra.clock import now
from webapp.models.groups import Group, GroupMember, any_membership, live_members
from webapp.models.record import live
from webapp.models.users import User, live_user_by_email
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import record
from webapp.services.folders import check_version
from webapp.services.groups import find_managed_group, show_group, target_of
from webapp.services.inputs import Input
from webapp.services.sessions import forget_identities
from webapp.services.users import Email, email_key


class Membership(Input):
    """Whether somebody in the group manages it."""

    manager: bool = False


class NewMember(Membership):
    """Whom to take in, by the address of their account."""

    email: Email


class MemberFilter(Input):
    """A page of the members, by name."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in a group; `id` is the account's, `version` counts changes of the membership."""

    id: UUID
    name: str
    email: str
    manager: bool
    added_at: datetime
    version: int


def list_members(actor: Actor, group_id: UUID, query: MemberFilter) -> Page[MemberView]:
    """The members of a group that the actor sees. Raises Missing, Invalid for a foreign cursor."""
    show_group(actor, group_id)
    chosen = live_members(group_id).order_by(User.name, User.id).limit(query.limit + 1)
    if query.cursor:
        chosen = chosen.where(tuple_(User.name, User.id) > tuple_(*decode_cursor(query.cursor, (str, int))))
    return page_of(read_rows(chosen), query.limit, _view, lambda row: (row.name, row.row_id))


def show_member(actor: Actor, group_id: UUID, user_id: UUID) -> MemberView:
    """One of them. Raises Missing."""
    show_group(actor, group_id)
    row = read_row(live_members(group_id).where(User.uuid == user_id))
    if row is None:
        raise _no_member()
    return _view(row)


@transactional
def add_member(actor: Actor, group_id: UUID, wish: NewMember) -> MemberView:
    """Take in the account of this address, or change whether it manages. Raises Missing, Refused, Invalid."""
    require(actor, "account.write")
    group = find_managed_group(actor, group_id)
    user = db.session.scalar(live_user_by_email(email_key(wish.email)))
    if user is None:
        raise Invalid.field("email", "unknown_user", "Nobody here has this e-mail.")
    return _set(actor, group, user, wish.manager, None)


@transactional
def set_member(
    actor: Actor, group_id: UUID, user_id: UUID, wish: Membership, expected: int | None = None
) -> MemberView:
    """Take somebody in, or change whether they manage the group; once more changes nothing.

    Raises Missing, Refused for who does not manage it, Stale where the membership is not the one expected.
    """
    require(actor, "account.write")
    group = find_managed_group(actor, group_id)
    user = db.session.scalar(live(User).where(User.uuid == user_id))
    if user is None:
        raise Missing("There is no such account.")
    return _set(actor, group, user, wish.manager, expected)


@transactional
def remove_member(actor: Actor, group_id: UUID, user_id: UUID, expected: int | None = None) -> None:
    """Take somebody out; what was granted to the group ends for them at once. Raises Missing, Refused, Stale."""
    require(actor, "account.write")
    group = find_managed_group(actor, group_id)
    user = db.session.scalar(live(User).where(User.uuid == user_id))
    membership = db.session.scalar(any_membership(group.id, user.id)) if user else None
    if membership is None:
        raise _no_member()
    check_version(membership.version, expected)
    db.session.delete(membership)
    db.session.flush()
    record(actor, "group.member_removed", target_of(group), {"member": (str(user_id), None)})
    after_commit(forget_identities)


def _set(actor: Actor, group: Group, user: User, manager: bool, expected: int | None) -> MemberView:
    membership = db.session.scalar(any_membership(group.id, user.id))
    check_version(membership.version if membership else 0, expected)
    person = str(user.uuid)
    if membership is None:
        db.session.add(GroupMember(group_id=group.id, user_id=user.id, manager=manager, added_at=now(), version=1))
        record(actor, "group.member_added", target_of(group), {"member": (None, person), "manager": (None, manager)})
    elif membership.manager != manager:
        change = {"member": (person, person), "manager": (membership.manager, manager)}
        membership.manager, membership.version = manager, membership.version + 1
        record(actor, "group.member_changed", target_of(group), change)
    db.session.flush()
    after_commit(forget_identities)
    return _view(db.session.execute(live_members(group.uuid).where(User.id == user.id)).one())


def _no_member() -> Missing:
    return Missing("Nobody of this id is in the group.")


def _view(row: Any) -> MemberView:
    return MemberView(id=row.uuid, name=row.name, email=row.email, manager=row.manager, added_at=row.added_at,
                      version=row.version)  # fmt: skip
