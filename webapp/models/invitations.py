"""Invitations: an address that may make its account, with a role, until a day."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Select, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import BIG, MaybeMoment, Moment, Record, live
from webapp.models.users import User


class Invitation(Record, Base):
    """Revoking it is its soft deletion; `accepted_at` is when it became an account."""

    __tablename__ = "invitations"
    __table_args__ = (Index("ix_invitations_email_key", "email_key", "id"),)

    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254))
    role: Mapped[str] = mapped_column(String(40))
    inviter_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"))
    expires_at: Mapped[Moment]
    accepted_at: Mapped[MaybeMoment]


def live_invitations() -> Select[Any]:
    """Columns of those that were not revoked, with who invited."""
    columns = (Invitation.id.label("row_id"), Invitation.uuid, Invitation.email, Invitation.role,
               Invitation.expires_at, Invitation.accepted_at, Invitation.created_at, Invitation.version,
               User.name.label("inviter"))  # fmt: skip
    return live(Invitation, *columns).join(User, User.id == Invitation.inviter_id)


def live_invitation(uuid: UUID) -> Select[Invitation]:
    """One, held until the transaction ends."""
    return live(Invitation).where(Invitation.uuid == uuid).with_for_update()


def live_invitations_to(role: str) -> Select[Invitation]:
    """Those with this role that nobody accepted, held until the transaction ends."""
    return live(Invitation).where(Invitation.role == role, Invitation.accepted_at.is_(None)).with_for_update()


def live_open_invitations(email_key: str, moment: datetime) -> Select[Invitation]:
    """Those of an address that can still be accepted, held until the transaction ends."""
    open_ = (Invitation.accepted_at.is_(None)) & (Invitation.expires_at > moment)
    return live(Invitation).where(Invitation.email_key == email_key, open_).with_for_update()
