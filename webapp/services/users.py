"""Accounts: making one, reading and changing one's own."""

import unicodedata
from datetime import datetime
from typing import Annotated
from uuid import UUID

import email_validator
import msgspec
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from webapp.config import current_settings, time_zones
from webapp.db import after_commit, db, transactional
from webapp.errors import Conflict, Invalid, Missing, Refused, Stale
from webapp.infra.clock import now
from webapp.models.record import live
from webapp.models.roles import Role
from webapp.models.users import Credential, Quota, User, UserRole, any_role_of, live_user, live_user_by_email
from webapp.policies import MEMBER, Actor, system_actor
from webapp.services import passwords
from webapp.services.events import Target, record
from webapp.services.inputs import Input, Line
from webapp.services.passwords import Password
from webapp.services.roles import may_give, permissions_held
from webapp.services.sessions import forget_identities, identity_of


def _email(address: str) -> str:
    """Any address that a private network may have, such as ana@vault.local or root@localhost (RFC 5321, 6531)."""
    local, at, domain = address.rpartition("@")
    private = f"{domain}.example.com" if at else ""  # reserved domains are fine here, the library refuses them
    try:
        email_validator.validate_email(f"{local}@{private}", check_deliverability=False)
    except email_validator.EmailNotValidError as error:
        raise PydanticCustomError("email", "This is not an e-mail address") from error
    return address


def _zone(name: str) -> str:
    if name not in time_zones():
        raise PydanticCustomError("time_zone", "This time zone is not known")
    return name


Email = Annotated[str, Line(254, least=3), AfterValidator(_email)]
Name = Annotated[str, Line(120)]
TimeZone = Annotated[str, Line(64), AfterValidator(_zone)]
Locale = Annotated[str, Field(pattern=r"^[a-z]{2,3}(_[A-Z]{2})?$", max_length=16)]


class Person(Input):
    """Whose account it is."""

    email: Email
    name: Name


class NewUser(Person):
    """An account to make."""

    password: Password


class MyChange(Input):
    """Changes of one's own profile; what is absent stays, null means: as the vault does."""

    name: Name = ""
    locale: Locale | None = None
    time_zone: TimeZone | None = None


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    """An account as its owner sees it."""

    id: UUID
    email: str
    name: str
    roles: list[str]
    locale: str | None
    time_zone: str | None
    created_at: datetime
    version: int


def refuse_beyond(actor: Actor, roles: frozenset[str], field: str = "roles") -> None:
    """Raise Invalid for a role that there is not, Refused for roles that allow more than the actor may."""
    known = set(db.session.scalars(live(Role, Role.slug).where(Role.slug.in_(roles))))
    if unknown := sorted(roles - known):
        raise Invalid.field(field, "unknown_role", f"There is no role {unknown[0]}.")
    if not may_give(actor, roles):
        raise Refused("You cannot give or take a role that allows more than you may yourself.", code="beyond_yours")


def email_key(email: str) -> str:
    """The form in which addresses are compared: case and compatibility characters do not tell people apart."""
    return unicodedata.normalize("NFKC", email.strip()).casefold()


def create_user(actor: Actor | None, wish: NewUser, role: str = MEMBER) -> Actor:
    """Make an account with one role and the usual quota; without an actor the vault itself does it.

    Returns the new account as an actor. Raises Invalid for a weak password, Conflict for a taken address.
    """
    password_hash = hash_new_password(wish.name, wish.email, wish.password)
    return insert_user(actor or system_actor(), wish, role, password_hash)


def hash_new_password(name: str, email: str, password: Password) -> str:
    """The hash of an acceptable password; raises Invalid for a weak one. Call it outside any transaction."""
    passwords.refuse_weak(password, (name, email))
    with passwords.turn() as hashing:
        return hashing.make(password)


@transactional
def insert_user(actor: Actor, wish: Person, role: str, password_hash: str | None) -> Actor:
    """The rows of a new account: user, role, quota, and a credential where it has a password.

    Raises Conflict for a taken address.
    """
    key = email_key(wish.email)
    if db.session.scalar(live_user_by_email(key)):
        raise Conflict("There is already an account with this e-mail.", code="email_taken")
    user = User(email=wish.email, email_key=key, name=wish.name)
    db.session.add(user)
    db.session.flush()
    if password_hash is not None:
        db.session.add(Credential(user_id=user.id, password_hash=password_hash, changed_at=now()))
    db.session.add_all([
        UserRole(user_id=user.id, role=role),
        Quota(user_id=user.id, byte_limit=current_settings().default_quota, byte_used=0),
    ])  # fmt: skip
    record(actor, "user.created", Target("user", user.uuid, owner_id=user.id), {"role": (None, role)})
    roles = frozenset({role})
    return Actor(id=user.id, uuid=user.uuid, email=user.email, name=user.name, roles=roles,
                 permissions=permissions_held(roles), address=actor.address, agent=actor.agent,
                 request_id=actor.request_id)  # fmt: skip


def show_me(actor: Actor) -> UserView:
    """The actor's own account, at most a second old; no query where the session is still remembered."""
    known = identity_of(actor)
    if known is None:
        return _shown(actor)
    return UserView(id=known.uuid, email=known.email, name=known.name, roles=sorted(known.roles), locale=known.locale,
                    time_zone=known.time_zone, created_at=known.created_at, version=known.version)  # fmt: skip


@transactional
def change_me(actor: Actor, wish: MyChange, expected: int | None) -> UserView:
    """Change the actor's own profile. Raises Stale when it is not of the expected version any more."""
    user = db.session.scalar(live_user(actor.id))
    if user is None:
        raise Missing("This account does not exist any more.")
    if expected is not None and user.version != expected:
        raise Stale("Your profile was changed in the meantime.")
    wishes = {field: getattr(wish, field) for field in wish.model_fields_set}
    changes = {field: (getattr(user, field), value) for field, value in wishes.items() if getattr(user, field) != value}
    for field, (_, value) in changes.items():
        setattr(user, field, value)
    if changes:
        db.session.flush()
        record(actor, "user.changed", Target("user", user.uuid, owner_id=user.id), changes)
        after_commit(forget_identities)
    return _view(user, list(actor.roles))


def _shown(actor: Actor) -> UserView:
    user = db.session.scalar(live_user(actor.id))
    if user is None:
        raise Missing("This account does not exist any more.")
    return _view(user, list(db.session.scalars(any_role_of(actor.id))))


def _view(user: User, roles: list[str]) -> UserView:
    return UserView(id=user.uuid, email=user.email, name=user.name, roles=sorted(roles), locale=user.locale,
                    time_zone=user.time_zone, created_at=user.created_at, version=user.version)  # fmt: skip
