"""Uploads that come in parts (tus 1.0.0): what each will become, and where its bytes wait."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Select, String, Text, Uuid, func
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from webapp.db import Base
from webapp.models.record import BIG, DOCUMENT, BigInt, Moment, any_state


class Upload(Base):
    """One upload. The bytes at `place` say how far it is; `offset` is what was answered last.

    Once it is whole, `file_uuid` names the file it became; the row then stays for who asks again.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        Index("ix_uploads_user_id", "user_id", "expires_at"),
        Index("ix_uploads_expires_at", "expires_at"),
    )

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    uuid: Mapped[UUID] = mapped_column(Uuid, unique=True, default=uuid7)
    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(255))
    folder_uuid: Mapped[UUID | None] = mapped_column(Uuid)
    path: Mapped[list[str]] = mapped_column(DOCUMENT, default=list)  # folders to find or make below that one
    conflict: Mapped[str] = mapped_column(String(10))
    told: Mapped[str] = mapped_column(Text)  # Upload-Metadata, as it came
    length: Mapped[BigInt]
    offset: Mapped[BigInt]
    place: Mapped[str] = mapped_column(String(200))
    file_uuid: Mapped[UUID | None] = mapped_column(Uuid)
    created_at: Mapped[Moment]
    expires_at: Mapped[Moment]


def upload_of(user_id: int, uuid: UUID) -> Select[Any]:
    """Columns of a person's upload, whatever its state."""
    return any_state(Upload, *Upload.__table__.c).where(Upload.user_id == user_id, Upload.uuid == uuid)


def uploads_open(user_id: int, moment: datetime) -> Select[Any]:
    """How many uploads of a person are not whole yet, and how many bytes they will have together."""
    waiting = (Upload.user_id == user_id) & Upload.file_uuid.is_(None) & (Upload.expires_at > moment)
    counted = func.count().label("uploads"), func.coalesce(func.sum(Upload.length), 0).label("length")
    return any_state(Upload, *counted).where(waiting)


def uploads_over(moment: datetime, most: int) -> Select[Any]:
    """Some whose time is over."""
    return any_state(Upload, Upload.id, Upload.uuid, Upload.place).where(Upload.expires_at <= moment).limit(most)
