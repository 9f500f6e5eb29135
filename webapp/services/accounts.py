"""Everybody's accounts, for administrators: who there is, making one, changing one. Suspension: services/standings."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import ColumnElement, delete, exists, or_, tuple_

from webapp.config import current_settings
from webapp.db import after_commit, db, read_row, read_rows, transactional
from webapp.errors import Conflict, Missing
from webapp.infra.clock import now
from webapp.models.accounts import any_account, any_accounts, live_holders_held
from webapp.models.mails import live_holders_of
from webapp.models.record import any_state
from webapp.models.users import Quota, User, UserRole, any_role_of, live_account_by_uuid, live_user_by_email
from webapp.policies import ADMIN, MEMBER, Actor, require
from webapp.services import passwords
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, record
from webapp.services.folders import check_version
from webapp.services.inputs import Input, Line
from webapp.services.mails import Recipient, send_mail
from webapp.services.passwords import Password
from webapp.services.resets import send_reset_link
from webapp.services.roles import check_role_change
from webapp.services.sessions import forget_identities
from webapp.services.users import Email, Name, Person, email_key, hash_new_password, insert_user, refuse_beyond

WELCOME = timedelta(days=7)  # that a link to choose one's first password is good
Slug = Annotated[str, Line(40)]
Roles = Annotated[list[Slug], Field(min_length=1, max_length=20)]
Bytes = Annotated[int, Field(ge=0, le=2**62)]
Sort = Literal["name", "-name", "email", "-email", "created_at", "-created_at"]
SORTS: dict[str, tuple[Any, type]] = {
    "name": (User.name, str), "email": (User.email_key, str), "created_at": (User.created_at, datetime),
}  # fmt: skip


class NewAccount(Person):
    """An account to make. Without a password its owner is mailed a link to choose one, good for a week."""

    roles: Roles = [MEMBER]  # noqa: RUF012
    password: Password | None = None


class AccountChange(Input):
    """What to change; what is absent stays."""

    name: Name | None = None
    email: Email | None = None
    roles: Roles | None = None
    byte_limit: Bytes | None = None


class AccountFilter(Input):
    """Which accounts to list; without a state all but deleted ones. `q` is part of the name or the e-mail."""

    state: Literal["active", "suspended", "deleted"] | None = None
    role: Slug | None = None
    q: Annotated[str, Line(200)] | None = None
    sort: Sort = "name"
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account as administrators see it. `state` is active, suspended or deleted; `seen_at` the last activity;
    `second_factor` whether there is one."""

    id: UUID
    email: str
    name: str
    roles: list[str]
    state: str
    second_factor: bool
    locale: str | None
    time_zone: str | None
    byte_limit: int
    byte_used: int
    seen_at: datetime | None
    suspended_at: datetime | None
    deleted_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int

    @property
    def beside(self) -> tuple[Any, ...]:
        """What its owner's deeds change, though they raise no version."""
        return (self.byte_used, self.seen_at, self.second_factor)


def list_users(actor: Actor, query: AccountFilter) -> Page[AccountView]:
    """The accounts that match. Raises Invalid for a foreign cursor."""
    require(actor, "users.read")
    column, kind = SORTS[query.sort.removeprefix("-")]
    down = query.sort.startswith("-")
    chosen = any_accounts().where(*_matching(query)).add_columns(column.label("sort_value")).limit(query.limit + 1)
    if query.cursor:
        mark, row = tuple_(*decode_cursor(query.cursor, (kind, int), of=query.sort)), tuple_(column, User.id)
        chosen = chosen.where(row < mark if down else row > mark)
    chosen = chosen.order_by(*((column.desc(), User.id.desc()) if down else (column, User.id)))
    return page_of(read_rows(chosen), query.limit, view_of, lambda row: (row.sort_value, row.row_id), of=query.sort)


def _matching(query: AccountFilter) -> list[ColumnElement[bool]]:
    states = {
        None: [User.deleted_at.is_(None)],
        "active": [User.deleted_at.is_(None), User.suspended_at.is_(None)],
        "suspended": [User.deleted_at.is_(None), User.suspended_at.is_not(None)],
        "deleted": [User.deleted_at.is_not(None)],
    }
    criteria: list[ColumnElement[bool]] = list(states[query.state])
    if query.role:
        criteria.append(exists().where(UserRole.user_id == User.id, UserRole.role == query.role))
    if query.q:
        part = {"other": email_key(query.q), "autoescape": True}
        criteria.append(or_(User.email_key.contains(**part), User.name.icontains(query.q, autoescape=True)))
    return criteria


def show_user(actor: Actor, user_id: UUID) -> AccountView:
    """One account, deleted or not. Raises Missing."""
    require(actor, "users.read")
    row = read_row(any_accounts().where(User.uuid == user_id))
    if row is None:
        raise Missing("There is no such account.")
    return view_of(row)


def create_user(actor: Actor, wish: NewAccount) -> AccountView:
    """Make an account; its owner is mailed. Raises Conflict for a taken address, Invalid for a weak password or an
    unknown role, Refused for roles beyond the actor's own."""
    require(actor, "users.write")
    refuse_beyond(actor, frozenset(wish.roles))
    password_hash = hash_new_password(wish.name, wish.email, wish.password) if wish.password else None
    return _create(actor, wish, password_hash)


@transactional
def _create(actor: Actor, wish: NewAccount, password_hash: str | None) -> AccountView:
    first, *others = dict.fromkeys(wish.roles)
    made = insert_user(actor, wish, first, password_hash or passwords.unusable_hash())
    db.session.add_all([UserRole(user_id=made.id, role=role) for role in others])
    db.session.flush()
    origin = current_settings().origin
    if password_hash is None:
        row = db.session.execute(live_account_by_uuid(made.uuid)).one()
        send_reset_link(row, now() + WELCOME, "welcome", {"inviter": actor.name})
    else:
        send_mail(actor, "account_made", Recipient(made.email, made.name), {"inviter": actor.name, "url": origin})
    return shown(made.uuid)


@transactional
def change_user(actor: Actor, user_id: UUID, wish: AccountChange, expected: int | None = None) -> AccountView:
    """Change name, address, roles or quota of an account.

    Raises Missing, Stale, Conflict for a taken address or where no administrator would be left, Refused for an account
    or roles beyond the actor's own.
    """
    require(actor, "users.write")
    user, roles = find_account(actor, user_id, expected)
    if user.deleted_at is not None:
        raise Conflict("This account is deleted. Restore it first.", code="deleted")
    with db.session.no_autoflush:  # one change, one version
        changes = {**_new_words(user, wish), **_new_limit(user, wish), **_new_roles(actor, user, roles, wish)}
    if changes:
        user.updated_at = now()  # raises the version, whatever table the change is in
        db.session.flush()
        record(actor, "user.changed", Target("user", user.uuid, user.name, owner_id=user.id), changes)
        after_commit(forget_identities)
    return shown(user_id)


def _new_words(user: User, wish: AccountChange) -> dict[str, tuple[Any, Any]]:
    changes: dict[str, tuple[Any, Any]] = {}
    if wish.name is not None and wish.name != user.name:
        changes["name"] = (user.name, wish.name)
        user.name = wish.name
    if wish.email is not None and wish.email != user.email:
        changes["email"] = (user.email, wish.email)
        move_account(user, wish.email)
    return changes


def move_account(user: User, email: str) -> None:
    """Give the account another address and tell the old one. Must run inside a transaction. Raises Conflict."""
    key = email_key(email)
    if key != user.email_key and db.session.scalar(live_user_by_email(key)):
        raise Conflict("There is already an account with this e-mail.", code="email_taken")
    to = Recipient(user.email, user.name, user.locale, user.time_zone)
    send_mail(None, "email_changed", to, {"email": email, "at": now().isoformat()})
    user.email, user.email_key = email, key


def _new_limit(user: User, wish: AccountChange) -> dict[str, tuple[Any, Any]]:
    quota = db.session.scalars(any_state(Quota).where(Quota.user_id == user.id)).one()
    if wish.byte_limit is None or wish.byte_limit == quota.byte_limit:
        return {}
    change = {"byte_limit": (quota.byte_limit, wish.byte_limit)}
    quota.byte_limit = wish.byte_limit
    return change


def _new_roles(actor: Actor, user: User, held: frozenset[str], wish: AccountChange) -> dict[str, tuple[Any, Any]]:
    wanted = frozenset(wish.roles) if wish.roles is not None else held
    if wanted == held:
        return {}
    check_role_change(actor, user.id, held, wanted)
    db.session.execute(delete(UserRole).where(UserRole.user_id == user.id, UserRole.role.in_(held - wanted)))
    db.session.add_all([UserRole(user_id=user.id, role=role) for role in wanted - held])
    return {"roles": (sorted(held), sorted(wanted))}


def find_account(actor: Actor, user_id: UUID, expected: int | None) -> tuple[User, frozenset[str]]:
    """The row, held, and its roles; the rows of all administrators are held before it, so that of two who take the
    last ones away one waits. Raises Missing, Stale, Refused for an account that may do more than the actor."""
    db.session.execute(live_holders_held(ADMIN)).all()
    user = db.session.scalar(any_account(user_id))
    if user is None:
        raise Missing("There is no such account.")
    roles = frozenset(db.session.scalars(any_role_of(user.id)))
    refuse_beyond(actor, roles)
    check_version(user.version, expected)
    return user, roles


def refuse_without_admin() -> None:
    """Raise Conflict where the present transaction leaves nobody who holds the administrator's role."""
    if not db.session.execute(live_holders_of(ADMIN).limit(1)).all():
        raise Conflict("There has to be an administrator who can sign in. Name another one first.", code="last_admin")


def shown(user_id: UUID) -> AccountView:
    """An account as the present transaction has it."""
    return view_of(db.session.execute(any_accounts().where(User.uuid == user_id)).one())


def view_of(row: Any) -> AccountView:
    """The account in a row of any_accounts."""
    state = "deleted" if row.deleted_at else "suspended" if row.suspended_at else "active"
    roles = sorted({*(row.roles or "").split(",")} - {""})
    made = {"id": row.uuid, "roles": roles, "state": state, "second_factor": bool(row.second_factor)}
    return AccountView(**made, **{n: getattr(row, n) for n in AccountView.__struct_fields__ if n not in made})
