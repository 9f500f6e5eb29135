"""Groups: made, renamed and removed by those who may; seen by them and by their members."""

import unicodedata
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import delete, tuple_

from webapp.db import after_commit, db, read_row, read_rows, transactional
from webapp.errors import Conflict, Missing, Refused, Stale
from webapp.infra.clock import now
from webapp.models.grants import Grant
from webapp.models.groups import Group, GroupMember, any_membership, live_group, live_groups
from webapp.models.record import change_rows, live
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, record
from webapp.services.inputs import Input, Line
from webapp.services.sessions import forget_identities

Name = Annotated[str, Line(80)]
About = Annotated[str, Field(max_length=300)]


class NewGroup(Input):
    """A group to make."""

    name: Name
    about: About = ""


class GroupChange(Input):
    """Changes; what is absent stays."""

    name: Name | None = None
    about: About | None = None


class GroupFilter(Input):
    """Which groups to list, by name: all that one may see, or with `whose=mine` those one is in."""

    whose: Literal["mine", "all"] = "all"
    q: Annotated[Annotated[str, Line(200)] | None, Field(description="part of the name")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """A group. `members` is how many there are, `manages` whether the one who asks may change who is in it."""

    id: UUID
    name: str
    about: str
    members: int
    manages: bool
    created_at: datetime
    updated_at: datetime
    version: int

    @property
    def beside(self) -> tuple[Any, ...]:
        """What changes without raising the version."""
        return (self.members, self.manages)


def list_groups(actor: Actor, query: GroupFilter) -> Page[GroupView]:
    """The groups that match and that the actor may see. Raises Invalid for a foreign cursor."""
    require(actor, "account.read")
    chosen = live_groups(actor.id).order_by(Group.name_key, Group.id).limit(query.limit + 1)
    if query.whose == "mine" or not actor.can("groups.read"):
        chosen = chosen.where(GroupMember.user_id.is_not(None))
    if query.q:
        chosen = chosen.where(Group.name_key.contains(key_of(query.q), autoescape=True))
    if query.cursor:
        chosen = chosen.where(tuple_(Group.name_key, Group.id) > tuple_(*decode_cursor(query.cursor, (str, int))))
    rows = read_rows(chosen)
    return page_of(rows, query.limit, lambda row: _view(actor, row), lambda row: (row.name_key, row.row_id))


def show_group(actor: Actor, group_id: UUID) -> GroupView:
    """One group. Raises Missing for one that the actor has no part in."""
    require(actor, "account.read")
    row = read_row(live_groups(actor.id).where(Group.uuid == group_id))
    if row is None or not _sees(actor, row.manager):
        raise Missing("There is no such group.")
    return _view(actor, row)


@transactional
def create_group(actor: Actor, wish: NewGroup) -> GroupView:
    """Make a group without members. Raises Conflict for a taken name."""
    require(actor, "groups.write")
    _refuse_taken(wish.name)
    group = Group(name=wish.name, name_key=key_of(wish.name), about=wish.about)
    db.session.add(group)
    db.session.flush()
    record(actor, "group.created", target_of(group), {"name": (None, group.name)})
    return _shown(actor, group)


@transactional
def change_group(actor: Actor, group_id: UUID, wish: GroupChange, expected: int | None = None) -> GroupView:
    """Rename or describe it. Raises Missing, Stale, Conflict for a taken name."""
    require(actor, "groups.write")
    group = find_group(actor, group_id, expected)
    wishes = {"name": wish.name, "about": wish.about}
    changes = {n: (getattr(group, n), v) for n, v in wishes.items() if v is not None and getattr(group, n) != v}
    if "name" in changes:
        _refuse_taken(str(wish.name), but=group.id)
        group.name_key = key_of(str(wish.name))
    for name, (_, value) in changes.items():
        setattr(group, name, value)
    if changes:
        db.session.flush()
        record(actor, "group.changed", target_of(group), changes)
    return _shown(actor, group)


@transactional
def delete_group(actor: Actor, group_id: UUID, expected: int | None = None) -> None:
    """Remove it with its memberships: what was granted to it ends at once. Raises Missing, Stale."""
    require(actor, "groups.write")
    group = find_group(actor, group_id, expected)
    group.deleted_at = now()
    db.session.flush()
    gone = delete(GroupMember).where(GroupMember.group_id == group.id).returning(GroupMember.user_id)
    left = db.session.execute(gone)
    theirs = (Grant.group_id == group.id) & Grant.deleted_at.is_(None)
    db.session.execute(change_rows(Grant, theirs, deleted_at=now()), execution_options={"synchronize_session": False})
    record(actor, "group.deleted", target_of(group), {"members": (len(left.all()), 0)})
    after_commit(forget_identities)


def find_group(actor: Actor, group_id: UUID, expected: int | None = None) -> Group:
    """The group, held until the transaction ends. Raises Missing for one the actor has no part in, Stale."""
    group = db.session.scalar(live_group(group_id))
    membership = None if group is None else db.session.scalar(any_membership(group.id, actor.id))
    if group is None or not _sees(actor, None if membership is None else membership.manager):
        raise Missing("There is no such group.")
    if expected is not None and group.version != expected:
        raise Stale("Somebody changed this group in the meantime. Load it again and repeat your change.")
    return group


def find_managed_group(actor: Actor, group_id: UUID) -> Group:
    """The same, of a group whose members the actor may change. Raises Refused for any other that they see."""
    group = find_group(actor, group_id)
    membership = db.session.scalar(any_membership(group.id, actor.id))
    if not actor.can("groups.write") and not (membership and membership.manager):
        raise Refused("Only managers of the group change who is in it.")
    return group


def key_of(name: str) -> str:
    """What is compared of a name: “Élan” and “élan” are one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def target_of(group: Group) -> Target:
    """The group as the object of an event."""
    return Target("group", group.uuid, group.name)


def _sees(actor: Actor, manager: bool | None) -> bool:
    return manager is not None or actor.can("groups.read") or actor.can("groups.write")


def _refuse_taken(name: str, but: int = 0) -> None:
    if db.session.scalar(live(Group, Group.id).where(Group.name_key == key_of(name), Group.id != but)):
        raise Conflict("There is already a group of this name.", code="name_taken")


def _shown(actor: Actor, group: Group) -> GroupView:
    return _view(actor, db.session.execute(live_groups(actor.id).where(Group.id == group.id)).one())


def _view(actor: Actor, row: Any) -> GroupView:
    return GroupView(id=row.uuid, name=row.name, about=row.about, members=row.members,
                     manages=bool(row.manager) or actor.can("groups.write"), created_at=row.created_at,
                     updated_at=row.updated_at, version=row.version)  # fmt: skip
