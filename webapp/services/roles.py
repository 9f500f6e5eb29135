"""Roles: what each allows, making, changing and removing them. Nobody gives what they do not hold themselves.

Whoever changes the roles of an account asks `check_role_change` first, inside the transaction.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from sqlalchemy import delete, func, insert, update

from webapp.db import after_commit, db, read_row, read_rows, transactional
from webapp.errors import Conflict, Invalid, Missing, Refused, Stale
from webapp.infra.clock import now
from webapp.models.factors import live_factors_of
from webapp.models.invitations import Invitation, live_invitations_to
from webapp.models.record import any_state, live
from webapp.models.roles import (
    Role,
    RolePermission,
    any_permissions_of_roles,
    live_active_admins,
    live_holders,
    live_role,
)
from webapp.models.users import User, UserRole
from webapp.policies import ADMIN, OWN_AFFAIRS, PERMISSIONS, Actor, permissions_of, require
from webapp.services.cursors import Page
from webapp.services.events import Target, record
from webapp.services.inputs import Input, Line, split_commas
from webapp.services.sessions import forget_identities

MOST = 100  # roles: the list is one page


def _known(name: str) -> str:
    if name not in PERMISSIONS:
        raise PydanticCustomError("unknown_permission", "There is no such permission")
    return name


Permission = Annotated[str, Field(json_schema_extra={"enum": sorted(PERMISSIONS)}), AfterValidator(_known)]
Permissions = Annotated[list[Permission], Field(max_length=200)]
Name = Annotated[str, Line(80)]
About = Annotated[str, Field(max_length=300)]


class NewRole(Input):
    """A role to make. Its slug is made of the name."""

    name: Name
    about: About = ""
    permissions: Permissions = Field(default=[])
    requires_second_factor: bool = False


class RoleChange(Input):
    """Changes; what is absent stays. Of built-in roles only the permissions change, and whether they ask
    for a second factor."""

    name: Name | None = None
    about: About | None = None
    permissions: Permissions | None = None
    requires_second_factor: bool | None = None


class RoleForm(NewRole):
    """The same from a page."""

    permissions: Annotated[Permissions, BeforeValidator(split_commas)] = Field(default=[])


class RoleRemoval(Input):
    """Which role the holders get instead; without one, a role that is held stays."""

    successor: UUID | None = None


class RoleView(msgspec.Struct, frozen=True, kw_only=True):
    """A role. Accounts name it by `slug`, which never changes. Who holds one that requires a second factor does nothing
    before they have set one up."""

    id: UUID
    slug: str
    name: str
    about: str
    built_in: bool
    permissions: list[str]
    requires_second_factor: bool
    created_at: datetime
    updated_at: datetime
    version: int


class RoleLine(RoleView, frozen=True, kw_only=True):
    """A role in the list; `holders` is how many accounts hold it."""

    holders: int


_held = any_state(RolePermission, func.aggregate_strings(RolePermission.permission, ","))
_COLUMNS = (
    Role.uuid, Role.slug, Role.name, Role.about, Role.built_in, Role.requires_second_factor, Role.created_at,
    Role.updated_at, Role.version,
    _held.where(RolePermission.role == Role.slug).correlate(Role).scalar_subquery().label("held"),
)  # fmt: skip
_holders = live(User, func.count(User.id)).join(UserRole, UserRole.user_id == User.id)
_ALL = live(
    Role, *_COLUMNS, _holders.where(UserRole.role == Role.slug).correlate(Role).scalar_subquery().label("holders")
).order_by(Role.built_in.desc(), Role.id)


def list_roles(actor: Actor) -> Page[RoleLine]:
    """All roles, the built-in ones first."""
    require(actor, "roles.read")
    return Page(items=[RoleLine(**_fields(row), holders=row.holders) for row in read_rows(_ALL)])


def show_role(actor: Actor, role_id: UUID) -> RoleView:
    """One role. Raises Missing."""
    require(actor, "roles.read")
    row = read_row(live(Role, *_COLUMNS).where(Role.uuid == role_id))
    if row is None:
        raise Missing("There is no such role.")
    return RoleView(**_fields(row))


def count_holders(actor: Actor, slug: str) -> int:
    """How many living accounts hold the role."""
    require(actor, "roles.read")
    row = read_row(live_holders(slug))
    return int(row[0]) if row else 0


def assignable_roles(actor: Actor) -> list[RoleView]:
    """The roles that the actor may give and take: those that allow nothing that is not theirs, too."""
    return [RoleView(**_fields(row)) for row in read_rows(_ALL) if _within(actor, row.slug, _permissions(row))]


def permissions_held(roles: frozenset[str]) -> frozenset[str]:
    """What accounts with these roles may do by now."""
    found = db.session.execute(any_permissions_of_roles(roles)).all()
    return permissions_of(roles, (row.permission for row in found))


def check_role_change(actor: Actor, user_id: int, before: Collection[str], after: Collection[str]) -> None:
    """Refuse a change of an account's roles that gives or takes what the actor does not hold, that takes one's own
    administrator role or the last one. Must run inside the transaction of the change, which it makes wait for others.

    Raises Invalid for an unknown role, Refused (beyond_yours), Conflict (own_admin_role, last_admin).
    """
    changed = set(before) ^ set(after)
    rows = db.session.execute(any_permissions_of_roles(changed)).all()
    known = set(db.session.scalars(live(Role, Role.slug).where(Role.slug.in_(changed)).with_for_update(read=True)))
    if unknown := set(after) - set(before) - known:
        raise Invalid.field("roles", "unknown_role", f"There is no role {min(unknown)}.")
    for slug in changed:
        if not _within(actor, slug, frozenset(row.permission for row in rows if row.role == slug)):
            raise Refused("Nobody gives or takes what they do not hold themselves.", code="beyond_yours")
    if ADMIN in set(before) - set(after):
        if user_id == actor.id:
            raise Conflict(
                "You cannot take the administrator's role from yourself; another administrator can.",
                code="own_admin_role",
            )
        refuse_last_admin(user_id)


def refuse_last_admin(user_id: int) -> None:
    """Raise Conflict where no other active account could administer. Call it inside the transaction that removes,
    suspends or demotes the account: it lets one such transaction at a time look.
    """
    db.session.execute(live(Role, Role.id).where(Role.slug == ADMIN).with_for_update())
    if set(db.session.scalars(live_active_admins(ADMIN))) == {user_id}:
        raise Conflict("This is the last administrator. Make another one first.", code="last_admin")


@transactional
def create_role(actor: Actor, wish: NewRole) -> RoleView:
    """Make a role. Raises Refused for permissions that the actor lacks, Conflict for a taken name."""
    require(actor, "roles.write")
    _refuse_beyond(actor, wish.permissions)
    if len(db.session.scalars(live(Role, Role.id).limit(MOST)).all()) >= MOST:
        raise Conflict(f"There are {MOST} roles already. Remove one first.", code="too_many")
    _refuse_taken_name(wish.name)
    if wish.requires_second_factor:
        _refuse_to_ask(actor)
    asks = wish.requires_second_factor
    role = Role(slug=_free_slug(wish.name), name=wish.name, about=wish.about, requires_second_factor=asks)
    db.session.add(role)
    db.session.flush()
    _set_permissions(role, wish.permissions)
    changes = {"name": (None, role.name), "permissions": (None, sorted(set(wish.permissions))),
               **({"requires_second_factor": (None, True)} if asks else {})}  # fmt: skip
    record(actor, "role.created", _target(role), changes)
    return _view(role)


@transactional
def change_role(actor: Actor, role_id: UUID, wish: RoleChange, expected: int | None = None) -> RoleView:
    """Change it; accounts that hold it may do the new at once here, within a second elsewhere.

    Raises Missing, Stale, Refused for what the actor lacks, Conflict for what a built-in role does not let change, and
    for who asks others for a second factor and has none.
    """
    require(actor, "roles.write")
    role = _find(role_id, expected)
    wishes = {"name": wish.name, "about": wish.about, "requires_second_factor": wish.requires_second_factor}
    changes = {n: (getattr(role, n), v) for n, v in wishes.items() if v is not None and getattr(role, n) != v}
    if role.built_in and changes.keys() & {"name", "about"}:
        raise Conflict("Built-in roles keep their names.", code="built_in")
    if "name" in changes:
        _refuse_taken_name(str(wish.name), but=role.id)
    if "requires_second_factor" in changes:
        _refuse_change_of_asking(actor, role, bool(wish.requires_second_factor))
    if wish.permissions is not None:
        changes |= _change_permissions(actor, role, set(wish.permissions))
    for name in changes.keys() & wishes.keys():
        setattr(role, name, wishes[name])
    role.updated_at = now() if changes else role.updated_at  # its permissions are part of it: the version rises
    if changes:
        db.session.flush()
        record(actor, "role.changed", _target(role), changes)
        after_commit(forget_identities)
    return _view(role)


@transactional
def delete_role(actor: Actor, role_id: UUID, wish: RoleRemoval, expected: int | None = None) -> None:
    """Remove a role; who holds it or is invited with it gets the successor.

    Raises Missing, Stale, Conflict while it is held or built in.
    """
    require(actor, "roles.write")
    role = _find(role_id, expected)
    if role.built_in:
        raise Conflict("Built-in roles cannot be removed.", code="built_in")
    _refuse_beyond(actor, _held_by(role))
    holders = db.session.scalars(any_state(UserRole, UserRole.user_id).where(UserRole.role == role.slug)).all()
    successor = _successor(actor, role, wish.successor) if wish.successor else None
    invited = db.session.scalars(live_invitations_to(role.slug)).all()
    if successor is not None:
        _move_holders(role.slug, successor.slug, invited)
    elif holders or invited:
        raise Conflict("Accounts or invitations name this role. Say which they get instead.", code="held")
    changes = {"permissions": (sorted(_held_by(role)), None), "holders": (len(holders), 0),
               "successor": (None, successor.slug if successor else None)}  # fmt: skip
    record(actor, "role.deleted", _target(role), changes)
    _set_permissions(role, ())
    db.session.delete(role)
    db.session.flush()
    after_commit(forget_identities)


def _successor(actor: Actor, role: Role, role_id: UUID) -> Role:
    found = db.session.scalar(live_role(role_id))
    if found is None or found.id == role.id:
        raise Invalid.field("successor", "unknown_role", "There is no such role.")
    if not _within(actor, found.slug, frozenset(_held_by(found))):
        raise Refused("Nobody gives what they do not hold themselves.", code="beyond_yours")
    return found


def _move_holders(old: str, new: str, invited: Iterable[Invitation]) -> None:
    have = any_state(UserRole, UserRole.user_id).where(UserRole.role == new)
    db.session.execute(delete(UserRole).where(UserRole.role == old, UserRole.user_id.in_(have)))
    db.session.execute(update(UserRole).where(UserRole.role == old).values(role=new))
    for invitation in invited:
        invitation.role = new


def _find(role_id: UUID, expected: int | None) -> Role:
    role = db.session.scalar(live_role(role_id).with_for_update())
    if role is None:
        raise Missing("There is no such role.")
    if expected is not None and role.version != expected:
        raise Stale("Somebody changed this role in the meantime. Load it again and repeat your change.")
    return role


def may_give(actor: Actor, roles: frozenset[str]) -> bool:
    """Whether none of these roles allows more than the actor may now, by this very token if they come by one."""
    rows = db.session.execute(any_permissions_of_roles(roles)).all()
    return all(_within(actor, slug, frozenset(row.permission for row in rows if row.role == slug)) for slug in roles)


def _within(actor: Actor, slug: str, permissions: frozenset[str]) -> bool:
    """Administrators are for administrators who have signed in. What no token may do, others may do for themselves."""
    if slug == ADMIN:
        return actor.is_admin and actor.scopes is None
    own = frozenset[str]() if actor.scopes is None else OWN_AFFAIRS
    return all(actor.can(name) for name in permissions - own)


def _refuse_beyond(actor: Actor, permissions: Collection[str]) -> None:
    if beyond := sorted(name for name in permissions if not actor.can(name)):
        raise Refused(
            f"Nobody gives or takes what they do not hold themselves: {', '.join(beyond)}.", code="beyond_yours"
        )


def _refuse_change_of_asking(actor: Actor, role: Role, asks: bool) -> None:
    if not _within(actor, role.slug, frozenset(_held_by(role))):
        raise Refused("Nobody changes a role that allows more than they may themselves.", code="beyond_yours")
    if asks:
        _refuse_to_ask(actor)


def _refuse_to_ask(actor: Actor) -> None:
    """Nobody locks themselves out, nor asks of others what they have not tried."""
    if not db.session.execute(live_factors_of(actor.id)).first():
        raise Conflict("Set up a second factor of your own first, then ask others for one.", code="no_factor")


def _refuse_taken_name(name: str, but: int = 0) -> None:
    same = func.lower(Role.name) == name.lower()
    if db.session.scalar(live(Role, Role.id).where(same, Role.id != but)):
        raise Conflict("There is already a role of this name.", code="name_taken")


def _free_slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:34] or "role"
    taken = set(db.session.scalars(live(Role, Role.slug).where(Role.slug.startswith(base, autoescape=True))))
    return next(slug for slug in (base, *(f"{base}-{n}" for n in range(2, MOST + 2))) if slug not in taken)


def _change_permissions(actor: Actor, role: Role, after: set[str]) -> dict[str, Any]:
    before = _held_by(role)
    if after == before:
        return {}
    if role.slug == ADMIN:
        raise Conflict("Administrators may do everything, always.", code="built_in")
    _refuse_beyond(actor, after | before)
    _set_permissions(role, after)
    return {"permissions": (sorted(before), sorted(after))}


def _set_permissions(role: Role, permissions: Collection[str]) -> None:
    db.session.execute(delete(RolePermission).where(RolePermission.role == role.slug))
    if permissions:
        rows = [{"role": role.slug, "permission": name} for name in sorted(set(permissions))]
        db.session.execute(insert(RolePermission), rows)


def _held_by(role: Role) -> set[str]:
    if role.slug == ADMIN:
        return set(PERMISSIONS)
    return {row.permission for row in db.session.execute(any_permissions_of_roles([role.slug]))}


def _target(role: Role) -> Target:
    return Target("role", role.uuid, role.name)


def _view(role: Role) -> RoleView:
    return RoleView(**_fields(db.session.execute(live(Role, *_COLUMNS).where(Role.id == role.id)).one()))


def _permissions(row: Any) -> frozenset[str]:
    return permissions_of(frozenset({row.slug}), (row.held or "").split(","))


def _fields(row: Any) -> dict[str, Any]:
    return {"id": row.uuid, "slug": row.slug, "name": row.name, "about": row.about, "built_in": row.built_in,
            "permissions": sorted(_permissions(row)), "requires_second_factor": row.requires_second_factor,
            "created_at": row.created_at, "updated_at": row.updated_at, "version": row.version}  # fmt: skip
