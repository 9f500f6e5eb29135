"""Second factors: codes of an app (TOTP), passkeys, recovery codes; and challenges that wait for an answer."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Delete,
    ForeignKey,
    Index,
    LargeBinary,
    Select,
    String,
    Update,
    delete,
    exists,
    func,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.infra.crypto import EncryptedText
from webapp.models.record import BIG, BigInt, MaybeMoment, Moment, Record, any_state, live
from webapp.models.users import User

TOTP, PASSKEY = "totp", "passkey"


class Factor(Record, Base):
    """A way to prove more than the password. It counts from `confirmed_at` on: an app shows its first code then.

    Of an app: `secret`, and `last_step`, the last time step whose code was used. Of a passkey: the sha-256 of its
    credential's id, which is unique, the id itself, its public key (COSE), how often its device says that it was used.
    """

    __tablename__ = "factors"
    __table_args__ = (
        Index("ix_factors_user_id", "user_id"),
        Index("uq_factors_totp", "user_id", unique=True, sqlite_where=text("deleted_at IS NULL AND kind = 'totp'"),
              postgresql_where=text("deleted_at IS NULL AND kind = 'totp'")),
        Index("uq_factors_credential_key", "credential_key", unique=True, sqlite_where=text("deleted_at IS NULL"),
              postgresql_where=text("deleted_at IS NULL")),
    )  # fmt: skip

    user_id: Mapped[BigInt] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(10))  # totp | passkey
    name: Mapped[str] = mapped_column(String(80))
    confirmed_at: Mapped[MaybeMoment]
    used_at: Mapped[MaybeMoment]
    secret: Mapped[str | None] = mapped_column(EncryptedText("factors.secret"))
    last_step: Mapped[BigInt | None]
    credential_key: Mapped[str | None] = mapped_column(String(64))
    credential_id: Mapped[bytes | None] = mapped_column(LargeBinary)
    public_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    sign_count: Mapped[BigInt | None]
    synced: Mapped[bool] = mapped_column(Boolean, default=False)  # its maker keeps copies on other devices


class RecoveryCode(Base):
    """A code for who has no factor at hand, by its digest; good once."""

    __tablename__ = "recovery_codes"
    __table_args__ = (Index("ix_recovery_codes_user_id", "user_id"),)

    code_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"))
    created_at: Mapped[Moment]
    used_at: Mapped[MaybeMoment]


class Challenge(Base):
    """What waits for an answer: a second step of a sign-in, or a random value that a passkey shall sign. `key` is the
    hash of the secret that the browser or program holds; `user_id` is None where a passkey will say who it is."""

    __tablename__ = "challenges"
    __table_args__ = (Index("ix_challenges_expires_at", "expires_at"), Index("ix_challenges_user_id", "user_id"))

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))
    user_id: Mapped[int | None] = mapped_column(BIG, ForeignKey("users.id"))
    sealed: Mapped[str] = mapped_column(EncryptedText("challenges.sealed"))
    expires_at: Mapped[Moment]


_COUNTS = (Factor.deleted_at.is_(None), Factor.confirmed_at.is_not(None))
HAS_FACTOR = exists().where(Factor.user_id == User.id, *_COUNTS)  # of the user in the statement around it


def live_factors_of(user_id: int) -> Select[Any]:
    """Columns of a person's factors that count, oldest first."""
    columns = (Factor.uuid, Factor.kind, Factor.name, Factor.confirmed_at, Factor.used_at, Factor.synced,
               Factor.credential_id, Factor.version)  # fmt: skip
    return live(Factor, *columns).where(Factor.user_id == user_id, *_COUNTS).order_by(Factor.id)


def live_factor_of(user_id: int, factor_uuid: UUID) -> Select[Factor]:
    """One of them."""
    return live(Factor).where(Factor.user_id == user_id, Factor.uuid == factor_uuid, *_COUNTS)


def live_totp_of(user_id: int) -> Select[Factor]:
    """A person's app, also one that has not shown its first code yet."""
    return live(Factor).where(Factor.user_id == user_id, Factor.kind == TOTP)


def live_passkey(credential_key: str) -> Select[Any]:
    """Columns of a passkey and its owner, who can sign in."""
    columns = (Factor.id, Factor.uuid, Factor.name, Factor.user_id, Factor.public_key, Factor.sign_count,
               User.uuid.label("user_uuid"))  # fmt: skip
    return (
        live(Factor, *columns)
        .join(User, User.id == Factor.user_id)
        .where(Factor.credential_key == credential_key, User.deleted_at.is_(None), User.suspended_at.is_(None))
    )


def any_unused_codes_of(user_id: int) -> Select[int]:
    """How many recovery codes a person has left."""
    unused = (RecoveryCode.user_id == user_id) & RecoveryCode.used_at.is_(None)
    return any_state(RecoveryCode, func.count()).where(unused)


def step_taken(factor_id: int, step: int, moment: datetime) -> Any:
    """Use the code of this time step, unless it or a later one was used: of several that try, one gets the id."""
    unused = Factor.last_step.is_(None) | (Factor.last_step < step)
    row = update(Factor).where(Factor.id == factor_id, *_COUNTS, unused)
    return _used(row, moment, last_step=step).returning(Factor.id)


def signature_taken(factor_id: int, before: int, count: int, moment: datetime, synced: bool) -> Any:
    """Note a signature of a passkey, unless another was noted meanwhile whose count shows it."""
    row = update(Factor).where(Factor.id == factor_id, *_COUNTS, Factor.sign_count == before)
    return _used(row, moment, sign_count=count, synced=synced).returning(Factor.id)


def code_taken(user_id: int, digest: str, moment: datetime) -> Any:
    """Use a recovery code: of several that try, one gets its key."""
    row = update(RecoveryCode).where(RecoveryCode.user_id == user_id, RecoveryCode.code_key == digest)
    return row.where(RecoveryCode.used_at.is_(None)).values(used_at=moment).returning(RecoveryCode.code_key)


def any_challenge(key: str, kind: str, moment: datetime) -> Select[Any]:
    """Columns of a challenge that is not over."""
    columns = (Challenge.user_id, Challenge.sealed, Challenge.expires_at)
    return any_state(Challenge, *columns).where(*_challenge(key, kind, moment))


def challenge_taken(key: str, kind: str, moment: datetime) -> Any:
    """End it and return the same columns: of several that try, one gets them."""
    gone = delete(Challenge).where(*_challenge(key, kind, moment))
    return gone.returning(Challenge.user_id, Challenge.sealed, Challenge.expires_at)


def challenges_over(moment: datetime) -> Delete:
    """Forget those that nobody answered."""
    return delete(Challenge).where(Challenge.expires_at <= moment)


def _challenge(key: str, kind: str, moment: datetime) -> tuple[Any, ...]:
    return (Challenge.key == key, Challenge.kind == kind, Challenge.expires_at > moment)


def _used(row: Update, moment: datetime, **values: Any) -> Update:
    """Leaves the version alone: removing or renaming must never lose to a use."""
    kept = {"used_at": moment, "updated_at": Factor.updated_at, **values}
    return row.values(kept).execution_options(synchronize_session=False)
