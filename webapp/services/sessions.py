"""Who is signed in: sessions of browsers and programs, and the actor that each request of theirs has."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import bindparam, tuple_

from webapp.db import after_commit, db, read_row, read_rows, transactional
from webapp.errors import Missing, Stale, Unauthenticated
from webapp.infra.clock import now
from webapp.infra.memory import Memory
from webapp.models.record import change_rows, live
from webapp.models.sessions import (
    Session,
    live_held_by,
    live_identity,
    live_sessions_of,
    secret_renewed,
    session_proven,
)
from webapp.policies import ADMIN, NOT_ACTING, Actor, Impersonator, permissions_of
from webapp.services.access_tokens import read_access_token
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, record
from webapp.services.inputs import Input
from webapp.services.presence import note_presence
from webapp.services.timeouts import session_end, session_ends

BROWSER, PROGRAM = "browser", "program"
ACTING = timedelta(minutes=30)  # that somebody acts as somebody else, at most
BY_SECRET = live_identity().where(Session.secret_hash == bindparam("key"), Session.kind == BROWSER)
BY_UUID = live_identity().where(Session.uuid == bindparam("key"), Session.kind == PROGRAM)
BY_ID = live_identity().where(Session.id == bindparam("key"))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from: client address, user agent, request id; `device` is its cookie (services/devices)."""

    address: str | None = None
    agent: str | None = None
    request_id: str | None = None
    device: str | None = None


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A living session or token with its user, as the database had it at most a second ago."""

    session_id: int | None = None
    token_id: int | None = None  # of a personal token (services/tokens.py) instead of a session
    expires_at: datetime
    user_id: int
    uuid: UUID
    email: str
    name: str
    locale: str | None
    time_zone: str | None
    version: int
    created_at: datetime
    roles: frozenset[str]
    permissions: frozenset[str]
    groups: frozenset[int]
    has_factor: bool
    asks_factor: bool
    proven_at: datetime | None = None
    second_factor: bool = False
    scopes: frozenset[str] | None = None
    root: int | None = None
    networks: tuple[str, ...] = ()
    impersonator: Impersonator | None = None


class SessionFilter(Input):
    """A page of one's sessions, newest activity first."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its owner sees it; `current` is the one that asks, `impersonated` that of who acts as them."""

    id: UUID
    kind: str
    address: str | None
    agent: str | None
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool
    impersonated: bool
    version: int


_identities: Memory[str | int | UUID, Identity] = Memory(max_age=1.0, size=4096)


def actor_of_cookie(secret: str, origin: Origin) -> Actor | None:
    """The actor whose browser holds this secret; None when its session ended or never was."""
    key = hash_of(secret)
    identity = _remembered(key, BY_SECRET, key)
    return actor_of(identity, origin) if identity else None


def actor_of_token(token: str, origin: Origin) -> Actor:
    """The actor of an access token. Raises Unauthenticated; a token dies with its session within a second."""
    claims = read_access_token(token)
    identity = _remembered(claims.session, BY_UUID, claims.session)
    if identity is None or identity.uuid != claims.user:
        raise Unauthenticated("This session has ended. Sign in again.", code="session_ended")
    return actor_of(identity, origin)


def identity_of(actor: Actor) -> Identity | None:
    """The identity behind the actor's session, as of at most a second ago; None for an actor without one."""
    return None if actor.session_id is None else _remembered(actor.session_id, BY_ID, actor.session_id)


def actor_of(identity: Identity, origin: Origin) -> Actor:
    """The actor of this identity in one request."""
    return Actor(
        id=identity.user_id, uuid=identity.uuid, email=identity.email, name=identity.name, roles=identity.roles,
        permissions=identity.permissions, groups=identity.groups, session_id=identity.session_id,
        locale=identity.locale, time_zone=identity.time_zone, address=origin.address, agent=origin.agent,
        request_id=origin.request_id, token_id=identity.token_id, scopes=identity.scopes, root=identity.root,
        impersonator=identity.impersonator, proven_at=identity.proven_at, second_factor=identity.second_factor,
        has_factor=identity.has_factor, asks_factor=identity.asks_factor,
    )  # fmt: skip


def identity_from(row: Any) -> Identity:
    """The identity in a row of `live_identity` or `live_token_owner`."""
    known = row._mapping
    roles, held = _held(row)
    groups = frozenset(int(number) for number in (row.groups or "").split(",") if number)
    fields = {name: known[name] for name in Identity.__struct_fields__ if name in known}
    fields |= {name: bool(known[name]) for name in ("has_factor", "asks_factor")}  # SQLite says 0 and 1
    if "started_at" in known:
        fields["expires_at"] = min(row.expires_at, session_end(row.started_at, row.seen_at, brief=row.brief))
    if "scopes" in known:
        fields |= {"scopes": frozenset(known["scopes"]), "networks": tuple(known["networks"])}
    permissions = permissions_of(roles, held)
    identity = Identity(**fields | {"roles": roles, "permissions": permissions, "groups": groups})
    return _acted(identity, row) if known.get("parent_id") else identity


def _held(row: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Roles and permissions of a row of OWNER's columns."""
    roles, permissions = (frozenset((text or "").split(",")) - {""} for text in (row.roles, row.permissions))
    return roles, permissions


def _acted(identity: Identity, row: Any) -> Identity:
    """The same where somebody else acts: at most what both may do, for half an hour, and while they may do that. What
    the person's roles ask for, the other has shown for themselves."""
    ends = session_end(row.parent_started_at, row.parent_seen_at, brief=row.parent_brief)
    until = min(identity.expires_at, row.parent_expires_at, ends, row.started_at + ACTING)
    boss = read_row(live_held_by(), {"boss_id": row.boss_id})
    allowed = permissions_of(*_held(boss)) if boss else frozenset()
    if "users.impersonate" not in allowed or ADMIN in identity.roles:
        until = row.started_at
    who = Impersonator(row.boss_id, row.boss_uuid, row.boss_email, row.boss_name, until)
    return msgspec.structs.replace(identity, expires_at=until, impersonator=who, asks_factor=False,
                                   permissions=identity.permissions & allowed - NOT_ACTING)  # fmt: skip


def forget_identities() -> None:
    """Make this process ask the database again: called after every change of a session, a user, a role or a group."""
    _identities.clear()


def remembered(key: str, read: Callable[[], Identity | None]) -> Identity | None:
    """The identity under this key as of at most a second ago, read where it is not known; None once it is over."""
    identity = _identities.get(key)
    if identity is None:
        mark = _identities.mark()
        identity = read()
        if identity is None:
            return None
        _identities.put(key, identity, mark)
    return identity if identity.expires_at > now() else None


def hash_of(secret: str) -> str:
    """What is stored of a random secret; 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def start_browser_session(actor: Actor, *, keep: bool = False) -> str:
    """A new session of the actor, who was proven just now, by a second factor where the actor says so.

    Returns the 256 random bits for its cookie. One that the browser is not to `keep` ends sooner when nobody uses it.
    Must run inside a transaction.
    """
    secret = secrets.token_urlsafe(32)
    _start(actor, BROWSER, hash_of(secret), brief=not keep)
    return secret


def start_program_session(actor: Actor) -> Session:
    """The same for a program: tokens hang on it. Must run inside a transaction."""
    return _start(actor, PROGRAM, None)


def note_proof(actor: Actor, *, second_factor: bool) -> None:
    """The session's owner has just shown who they are; who has no session shows it to nobody. Must run inside a
    transaction."""
    if actor.session_id is not None:
        db.session.execute(session_proven(actor.session_id, now(), second_factor))
        after_commit(forget_identities)


@transactional
def renew_secret(actor: Actor) -> str:
    """Another secret for the cookie of the actor's browser, in place of the one of before (ASVS 5.0, 7.2.4)."""
    secret = secrets.token_urlsafe(32)
    if actor.session_id is not None:
        db.session.execute(secret_renewed(actor.session_id, hash_of(secret)))
    after_commit(forget_identities)
    return secret


def actor_now(actor: Actor) -> Actor:
    """The actor as the database has it at this moment: another process may have heard a proof a moment ago."""
    row = read_row(BY_ID, {"key": actor.session_id}) if actor.session_id is not None else None
    if row is None:
        return actor
    identity = identity_from(row)
    return replace(actor, proven_at=identity.proven_at, second_factor=identity.second_factor,
                   has_factor=identity.has_factor, asks_factor=identity.asks_factor)  # fmt: skip


def start_acting(actor: Actor, user_id: int, secret: str | None) -> Session:
    """A session of another account that hangs on the actor's own: of a browser with this secret, or of a program
    without one. Must run inside a transaction.
    """
    moment = now()
    session = Session(user_id=user_id, kind=BROWSER if secret else PROGRAM, seen_at=moment, address=actor.address,
                      secret_hash=hash_of(secret) if secret else None, expires_at=moment + ACTING, brief=True,
                      agent=(actor.agent or "")[:400], parent_id=actor.session_id)  # fmt: skip
    db.session.add(session)
    db.session.flush()
    return session


def list_sessions(actor: Actor, wish: SessionFilter) -> Page[SessionView]:
    """The actor's living sessions."""
    return sessions_of(actor, actor.id, wish)


def sessions_of(actor: Actor, user_id: int, wish: SessionFilter) -> Page[SessionView]:
    """The living sessions of an account, as this actor sees them."""
    statement = live_sessions_of(user_id, session_ends()).limit(wish.limit + 1)
    if wish.cursor:
        seen_at, last = decode_cursor(wish.cursor, (datetime, int))
        statement = statement.where(tuple_(Session.seen_at, Session.id) < tuple_(seen_at, last))
    return page_of(read_rows(statement), wish.limit, lambda row: _view(row, actor), lambda row: (row.seen_at, row.id))


@transactional
def end_session(actor: Actor, session_id: UUID, expected: int | None = None) -> None:
    """End one session of the actor: its cookie, access tokens and refresh tokens are dead. Raises Missing, Stale."""
    end_their_session(actor, actor.id, session_id, expected)


@transactional
def end_their_session(actor: Actor, user_id: int, session_id: UUID, expected: int | None = None) -> None:
    """End one session of an account. Raises Missing, Stale."""
    theirs = (Session.uuid == session_id) & (Session.user_id == user_id)
    seen = () if expected is None else (Session.version == expected,)
    if not _end(actor, theirs, *seen):
        if seen and db.session.scalar(live(Session, Session.id).where(theirs)):
            raise Stale("This session was changed in the meantime.")
        raise Missing("There is no such session.")


@transactional
def end_own_session(actor: Actor) -> None:
    """Sign out: end the session the actor came with. Ending it twice is no error."""
    _end(actor, Session.id == actor.session_id, Session.user_id == actor.id)


@transactional
def end_all_sessions(actor: Actor) -> int:
    """End every session of the actor, this one too; returns how many there were. Who acts as another ends only it."""
    if actor.impersonator is not None:
        return _end(actor, Session.id == actor.session_id)
    return _end(actor, Session.user_id == actor.id)


@transactional
def end_sessions_of(actor: Actor, user_id: int, reason: str) -> int:
    """End every session of an account; returns how many there were. The reason stands in the audit trail."""
    return _end(actor, Session.user_id == user_id, reason=reason)


@transactional
def end_family(actor: Actor, session_id: int, reason: str) -> None:
    """End a session because something is wrong with it; the reason stands in the audit trail."""
    _end(actor, Session.id == session_id, reason=reason)


def _start(actor: Actor, kind: str, secret_hash: str | None, *, brief: bool = False) -> Session:
    moment = now()
    session = Session(user_id=actor.id, kind=kind, secret_hash=secret_hash, seen_at=moment, address=actor.address,
                      expires_at=session_end(moment, moment, brief=brief), brief=brief,
                      agent=(actor.agent or "")[:400], proven_at=moment,
                      second_factor=actor.second_factor)  # fmt: skip
    db.session.add(session)
    db.session.flush()
    said = {"kind": (None, kind), **({"second_factor": (None, True)} if actor.second_factor else {})}
    record(actor, "session.started", Target("session", session.uuid, owner_id=actor.id), said)
    return session


def _end(actor: Actor, *criteria: Any, reason: str = "signed out") -> int:
    statement = change_rows(Session, Session.deleted_at.is_(None), *criteria, deleted_at=now())
    statement = statement.returning(Session.id, Session.uuid, Session.user_id)
    ended = db.session.execute(statement, execution_options={"synchronize_session": False}).all()
    for _number, uuid, owner_id in ended:
        record(actor, "session.ended", Target("session", uuid, owner_id=owner_id), {"reason": (None, reason)})
    after_commit(forget_identities)
    if ended:
        _end(actor, Session.parent_id.in_([number for number, *_rest in ended]), reason="the session it hung on ended")
    return len(ended)


def _remembered(key: str | int | UUID, statement: Any, value: str | int | UUID) -> Identity | None:
    identity = _identities.get(key)
    if identity is None:
        mark = _identities.mark()
        row = read_row(statement, {"key": value})
        if row is None:
            return None
        identity = identity_from(row)
        for name in (key, row.session_id):
            _identities.put(name, identity, mark)
        if identity.expires_at > now() and row.parent_id is None:
            note_presence(db.engine, row.session_id, row.seen_at, row.started_at, brief=row.brief)
    return identity if identity.expires_at > now() else None


def _view(row: Any, actor: Actor) -> SessionView:
    ends = min(row.expires_at, session_end(row.created_at, row.seen_at, brief=row.brief))
    return SessionView(id=row.uuid, kind=row.kind, address=row.address, agent=row.agent, created_at=row.created_at,
                       seen_at=row.seen_at, expires_at=ends, current=row.id == actor.session_id,
                       impersonated=row.parent_id is not None, version=row.version)  # fmt: skip
