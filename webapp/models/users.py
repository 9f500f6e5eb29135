"""Accounts, how they prove who they are, which roles they hold, how much they may store."""

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Select, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import BIG, BigInt, MaybeMoment, Moment, Record, any_state, live


class User(Record, Base):
    """A person. `email` keeps the spelling given; `email_key` is its case-folded form, unique among the living."""

    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_email_key", "email_key", unique=True,
              sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL")),
    )  # fmt: skip

    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(200))
    locale: Mapped[str | None] = mapped_column(String(16))
    time_zone: Mapped[str | None] = mapped_column(String(64))
    suspended_at: Mapped[MaybeMoment]
    erased_at: Mapped[MaybeMoment]  # when a deleted one lost all that was personal


class Credential(Base):
    """A password as an argon2id string (RFC 9106); never leaves this table."""

    __tablename__ = "credentials"

    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"), primary_key=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    changed_at: Mapped[Moment]


class UserRole(Base):
    """A role held by a user, by its slug; what it allows stands in models/roles.py."""

    __tablename__ = "user_roles"

    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(40), ForeignKey("roles.slug"), primary_key=True)


class Quota(Base):
    """Bytes an owner holds and may hold. Not on the user row: every upload writes it and must not raise a version."""

    __tablename__ = "quotas"

    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"), primary_key=True)
    byte_limit: Mapped[BigInt]
    byte_used: Mapped[BigInt] = mapped_column(default=0)


def live_user_by_email(email_key: str) -> Select[User]:
    """The living account of this case-folded address."""
    return live(User).where(User.email_key == email_key)


def live_user(user_id: int) -> Select[User]:
    """One living account by its internal id."""
    return live(User).where(User.id == user_id)


def any_user_count() -> Select[int]:
    """How many accounts there ever were: set-up is over with the first."""
    return any_state(User, func.count(User.id))


def any_role_of(user_id: int) -> Select[str]:
    """Names of the roles a user holds."""
    return any_state(UserRole, UserRole.role).where(UserRole.user_id == user_id)


def live_account(email_key: str) -> Select[Any]:
    """Columns of the living, unsuspended account of this case-folded address; `password_hash` may be None."""
    return _live_accounts().where(User.email_key == email_key)


def live_account_by_uuid(uuid: UUID) -> Select[Any]:
    """The same of the account with this public id."""
    return _live_accounts().where(User.uuid == uuid)


def _live_accounts() -> Select[Any]:
    return (
        live(User, User.id, User.uuid, User.email, User.name, User.locale, User.time_zone, Credential.password_hash)
        .outerjoin(Credential, Credential.user_id == User.id)
        .where(User.suspended_at.is_(None))
    )


def any_user_with(role: str) -> Select[int]:
    """Ids of all who hold the role and can sign in; their rows stay as they are until the transaction ends."""
    return (
        any_state(UserRole, UserRole.user_id)
        .join(User, User.id == UserRole.user_id)
        .where(UserRole.role == role, User.deleted_at.is_(None), User.suspended_at.is_(None))
        .order_by(UserRole.user_id)
        .with_for_update(of=UserRole)
    )


def any_password_of(user_id: int) -> Select[int]:
    """The id of a user who has a password."""
    return any_state(Credential, Credential.user_id).where(Credential.user_id == user_id)
