"""Registrations whose e-mail is not confirmed yet: no account until then, so nobody takes another's address."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Delete, Index, Select, String, Uuid, delete
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from webapp.db import Base
from webapp.infra.ids import next_id
from webapp.models.record import BIG, Moment, any_state


class Registration(Base):
    """What somebody typed. Several may name one address: each is confirmed by its own link and its own password."""

    __tablename__ = "registrations"
    __table_args__ = (
        Index("ix_registrations_email_key", "email_key", "id"),
        Index("ix_registrations_expires_at", "expires_at"),
    )

    id: Mapped[int] = mapped_column(BIG, primary_key=True, default=next_id, autoincrement=False)
    uuid: Mapped[UUID] = mapped_column(Uuid, unique=True, default=uuid7)
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[Moment]
    expires_at: Mapped[Moment]


def any_registration(uuid: UUID, moment: datetime) -> Select[Registration]:
    """One that can still be confirmed."""
    return any_state(Registration).where(Registration.uuid == uuid, Registration.expires_at > moment)


def any_last_registration(email_key: str, moment: datetime) -> Select[Registration]:
    """The newest of an address that can still be confirmed."""
    chosen = any_state(Registration).where(Registration.email_key == email_key, Registration.expires_at > moment)
    return chosen.order_by(Registration.id.desc()).limit(1)


def registrations_over(moment: datetime) -> Delete:
    """Remove those that nobody confirmed in time."""
    return delete(Registration).where(Registration.expires_at <= moment)
