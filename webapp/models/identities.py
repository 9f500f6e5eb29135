"""Accounts of people at providers of OpenID Connect, and visits to a provider that are under way."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Delete, ForeignKey, Index, Select, String, Update, delete, text, update
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.infra.crypto import EncryptedText
from webapp.models.record import BigInt, MaybeMoment, Moment, Record, any_state, live
from webapp.models.users import Credential, User

PURPOSE = "identity subject"  # of the digests in subject_key


class ExternalIdentity(Record, Base):
    """A person's account at a provider: `issuer` is its address, `subject` what it calls the person, for ever.

    `subject_key` finds it (see crypto.lookup_keys); `email` is the last verified one, to show which account it is.
    """

    __tablename__ = "identities"
    __table_args__ = (
        Index("uq_identities_subject", "issuer", "subject_key", unique=True,
              sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL")),
        Index("ix_identities_user_id", "user_id"),
    )  # fmt: skip

    user_id: Mapped[BigInt] = mapped_column(ForeignKey("users.id"))
    issuer: Mapped[str] = mapped_column(String(255))
    subject_key: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(
        EncryptedText("identities.subject", personal=True, found_by=("subject_key", PURPOSE))
    )
    email: Mapped[str | None] = mapped_column(EncryptedText("identities.email", personal=True))
    used_at: Mapped[MaybeMoment]


class OidcVisit(Base):
    """A visit that one browser makes. Stages: away (until the provider sends it back), then proven where the person has
    yet to agree. `key` and `browser` are hashes of two secrets, one in the address, one in the cookie."""

    __tablename__ = "oidc_visits"
    __table_args__ = (Index("ix_oidc_visits_expires_at", "expires_at"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    browser: Mapped[str] = mapped_column(String(64))
    issuer: Mapped[str] = mapped_column(String(40))
    stage: Mapped[str] = mapped_column(String(10))
    sealed: Mapped[str] = mapped_column(EncryptedText("oidc_visits.sealed", personal=True))
    expires_at: Mapped[Moment]


def live_identities_of(user_id: int) -> Select[Any]:
    """Columns of a person's identities, oldest first."""
    columns = (ExternalIdentity.uuid, ExternalIdentity.issuer, ExternalIdentity.email, ExternalIdentity.created_at,
               ExternalIdentity.used_at, ExternalIdentity.version)  # fmt: skip
    return live(ExternalIdentity, *columns).where(ExternalIdentity.user_id == user_id).order_by(ExternalIdentity.id)


def live_identity_of(user_id: int, identity_uuid: UUID) -> Select[ExternalIdentity]:
    """One of them."""
    return live(ExternalIdentity).where(ExternalIdentity.user_id == user_id, ExternalIdentity.uuid == identity_uuid)


def live_identity_by(issuer: str, subject_keys: list[str]) -> Select[Any]:
    """Whose account this is at the provider, whatever became of that person."""
    columns = (ExternalIdentity.id.label("identity_id"), User.id, User.uuid, User.email, User.name, User.locale,
               User.time_zone, User.deleted_at, User.suspended_at, Credential.password_hash)  # fmt: skip
    return (
        live(ExternalIdentity, *columns)
        .join(User, User.id == ExternalIdentity.user_id)
        .outerjoin(Credential, Credential.user_id == User.id)
        .where(ExternalIdentity.issuer == issuer, ExternalIdentity.subject_key.in_(subject_keys))
    )


def identity_used(identity_id: int, moment: datetime, values: dict[str, Any]) -> Update:
    """Note that it was used. Leaves its version alone: unlinking it must never lose to this."""
    kept = {"used_at": moment, "updated_at": ExternalIdentity.updated_at, **values}
    row = update(ExternalIdentity).where(ExternalIdentity.id == identity_id)
    return row.values(kept).execution_options(synchronize_session=False)


def any_visit(key: str, browser: str, stage: str, moment: datetime) -> Select[Any]:
    """Columns of a visit that is not over, for the browser that makes it."""
    criteria = _visit(key, browser, stage, moment)
    return any_state(OidcVisit, OidcVisit.issuer, OidcVisit.sealed).where(*criteria)


def visit_taken(key: str, browser: str, stage: str, moment: datetime) -> Any:
    """End it and return the same columns: of several that try, one gets them."""
    criteria = _visit(key, browser, stage, moment)
    return delete(OidcVisit).where(*criteria).returning(OidcVisit.issuer, OidcVisit.sealed)


def visits_over(moment: datetime) -> Delete:
    """Forget those that nobody finished."""
    return delete(OidcVisit).where(OidcVisit.expires_at <= moment)


def _visit(key: str, browser: str, stage: str, moment: datetime) -> tuple[Any, ...]:
    return (OidcVisit.key == key, OidcVisit.browser == browser, OidcVisit.stage == stage, OidcVisit.expires_at > moment)
