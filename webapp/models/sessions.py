"""Who is signed in: one row a sign-in, of a browser or a program; refresh tokens hang on the latter."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    ForeignKey,
    Index,
    Select,
    String,
    Update,
    and_,
    bindparam,
    cast,
    exists,
    false,
    func,
    or_,
    update,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column

from webapp.db import Base
from webapp.infra.crypto import EncryptedText
from webapp.models.factors import HAS_FACTOR
from webapp.models.groups import Group, GroupMember
from webapp.models.record import BIG, BigInt, MaybeMoment, Moment, Record, any_state, live
from webapp.models.roles import Role, RolePermission
from webapp.models.users import User, UserRole


class Session(Record, Base):
    """A sign-in. Ending it is its soft deletion; access tokens and cookies that name it die with it."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user_id", "user_id", "deleted_at"),)

    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(10))  # browser | program
    secret_hash: Mapped[str | None] = mapped_column(String(64), unique=True)  # sha-256 of the cookie's random id
    expires_at: Mapped[Moment]
    seen_at: Mapped[Moment]
    parent_id: Mapped[BigInt | None]  # of the session of who acts as this person; it ends with that
    brief: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())  # ends sooner when unused
    address: Mapped[str | None] = mapped_column(EncryptedText("sessions.address", personal=True))
    agent: Mapped[str | None] = mapped_column(EncryptedText("sessions.agent", personal=True))
    proven_at: Mapped[MaybeMoment]  # when its owner last showed that it is still them
    # whether by more than a password
    second_factor: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())


class RefreshToken(Base):
    """One link of a chain: each is used once, its successor names it as parent; the session is the family."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("ix_refresh_tokens_session_id", "session_id"),)

    secret_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[int] = mapped_column(BIG, ForeignKey("sessions.id"))
    parent_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[Moment]
    expires_at: Mapped[Moment]
    used_at: Mapped[MaybeMoment]
    used_by: Mapped[str | None] = mapped_column(String(64))  # keyed digest of the client that used it


class SignInAttempt(Base):
    """A failed proof of identity, by keyed digest of account and address: counted exactly, with or without Redis."""

    __tablename__ = "sign_in_attempts"
    __table_args__ = (
        Index("ix_sign_in_attempts_subject", "subject", "created_at"),
        Index("ix_sign_in_attempts_created_at", "created_at"),
    )

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    subject: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[Moment]


_roles = any_state(UserRole, func.aggregate_strings(UserRole.role, ",")).where(UserRole.user_id == User.id)
_held = any_state(UserRole, func.aggregate_strings(RolePermission.permission, ","))
_held = _held.join(RolePermission, RolePermission.role == UserRole.role).where(UserRole.user_id == User.id)
_groups = live(Group, func.aggregate_strings(cast(GroupMember.group_id, String), ","))
_groups = _groups.join(GroupMember, GroupMember.group_id == Group.id).where(GroupMember.user_id == User.id)
_asks = exists().where(UserRole.user_id == User.id, Role.slug == UserRole.role, Role.requires_second_factor)
# Of the user who is signed in: what an actor is made of.
OWNER = (
    User.id.label("user_id"), User.uuid, User.email, User.name, User.locale, User.time_zone, User.version,
    User.created_at, _roles.correlate(User).scalar_subquery().label("roles"),
    _held.correlate(User).scalar_subquery().label("permissions"),
    _groups.correlate(User).scalar_subquery().label("groups"),
    HAS_FACTOR.correlate(User).label("has_factor"), _asks.correlate(User).label("asks_factor"),
)  # fmt: skip


def live_person(user_id: int) -> Select[Any]:
    """OWNER's columns of an account that may sign in, for a job that does what this person ordered."""
    return live(User, *OWNER).where(User.id == user_id, User.suspended_at.is_(None))


_parent, _boss = aliased(Session), aliased(User)
_BOSS = (
    Session.parent_id, _boss.id.label("boss_id"), _boss.uuid.label("boss_uuid"), _boss.email.label("boss_email"),
    _boss.name.label("boss_name"), _parent.created_at.label("parent_started_at"),
    _parent.seen_at.label("parent_seen_at"), _parent.expires_at.label("parent_expires_at"),
    _parent.brief.label("parent_brief"),
)  # fmt: skip


def live_identity() -> Select[Any]:
    """Columns of a living session and its living, unsuspended user with roles and groups: what an actor is made of.
    Where somebody acts as that user, their own session and account live, too."""
    own = and_(_parent.id.is_not(None), _parent.deleted_at.is_(None), _boss.deleted_at.is_(None),
               _boss.suspended_at.is_(None))  # fmt: skip
    return (
        live(Session, Session.id.label("session_id"), Session.uuid.label("session_uuid"), Session.kind, Session.seen_at,
             Session.expires_at, Session.created_at.label("started_at"), Session.brief, Session.proven_at,
             Session.second_factor, *_BOSS, *OWNER)
        .join(User, User.id == Session.user_id)
        .outerjoin(_parent, _parent.id == Session.parent_id)
        .outerjoin(_boss, _boss.id == _parent.user_id)
        .where(or_(Session.parent_id.is_(None), own), User.deleted_at.is_(None), User.suspended_at.is_(None))
    )  # fmt: skip


class Ends(NamedTuple):
    """Sign-ins that ended by themselves: who was not seen since `idle` (`brief`: those not remembered), or began
    before `life`."""

    now: datetime
    idle: datetime
    brief: datetime
    life: datetime


def live_held_by() -> Select[Any]:
    """Roles and permissions of the unsuspended account `boss_id`."""
    return live(User, *OWNER).where(User.id == bindparam("boss_id"), User.suspended_at.is_(None))


def goes_on(ends: Ends) -> Any:
    """Whether a sign-in has not run out."""
    used = or_(and_(Session.brief.is_(False), Session.seen_at > ends.idle), Session.seen_at > ends.brief)
    return and_(Session.expires_at > ends.now, Session.created_at > ends.life, used)


def live_sessions_of(user_id: int, ends: Ends) -> Select[Any]:
    """Columns of the user's sign-ins that have neither ended nor run out, newest activity first."""
    return (
        live(Session, Session.id, Session.uuid, Session.kind, Session.created_at, Session.seen_at, Session.expires_at,
             Session.address, Session.agent, Session.brief, Session.parent_id, Session.version)
        .where(Session.user_id == user_id, goes_on(ends))
        .order_by(Session.seen_at.desc(), Session.id.desc())
    )  # fmt: skip


def any_last_sessions_of(user_id: int, count: int) -> Select[Any]:
    """Where the user's last sign-ins came from, ended ones too; not those of who acted as them."""
    chosen = any_state(Session, Session.address, Session.agent).where(
        Session.user_id == user_id, Session.parent_id.is_(None)
    )
    return chosen.order_by(Session.id.desc()).limit(count)


def any_refresh_token(secret_hash: str) -> Select[RefreshToken]:
    """A refresh token, used or not."""
    return any_state(RefreshToken).where(RefreshToken.secret_hash == secret_hash)


def any_attempts(subjects: list[str], since: datetime) -> Select[Any]:
    """Per subject: how many failures since that moment, and when the last one was."""
    columns = (SignInAttempt.subject, func.count().label("failures"), func.max(SignInAttempt.created_at).label("last"))
    return (
        any_state(SignInAttempt, *columns)
        .where(SignInAttempt.subject.in_(subjects), SignInAttempt.created_at > since)
        .group_by(SignInAttempt.subject)
    )


def session_proven(session_id: int, moment: datetime, second_factor: bool) -> Update:
    """Note that its owner showed who they are. Leaves its version alone, too."""
    row = (Session.id == session_id) & Session.deleted_at.is_(None)
    values: dict[str, Any] = {"proven_at": moment, "updated_at": Session.updated_at}
    if second_factor:
        values["second_factor"] = True
    return update(Session).where(row).values(values).execution_options(synchronize_session=False)


def secret_renewed(session_id: int, secret_hash: str) -> Update:
    """Another secret for a browser's cookie. Leaves its version alone, too."""
    row = (Session.id == session_id) & Session.secret_hash.is_not(None) & Session.deleted_at.is_(None)
    values = {"secret_hash": secret_hash, "updated_at": Session.updated_at}
    return update(Session).where(row).values(values).execution_options(synchronize_session=False)


def session_seen(session_id: int, seen_at: datetime, expires_at: datetime) -> Update:
    """Note that a session was used. Leaves its version alone: ending it must never lose to this."""
    row = (Session.id == session_id) & Session.deleted_at.is_(None)
    values = {"seen_at": seen_at, "expires_at": expires_at, "updated_at": Session.updated_at}
    return update(Session).where(row).values(values).execution_options(synchronize_session=False)
