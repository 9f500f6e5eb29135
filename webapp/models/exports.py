"""What the vault knows of a person, as an archive that can be fetched for some days."""

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Select
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.infra.crypto import EncryptedBytes
from webapp.models.record import BIG, BigInt, MaybeMoment, Record, live


class DataExport(Record, Base):
    """An archive, encrypted; without content it is still being made."""

    __tablename__ = "data_exports"
    __table_args__ = (Index("ix_data_exports_user_id", "user_id", "id"),)

    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"))
    content: Mapped[bytes | None] = mapped_column(EncryptedBytes("data_exports.content", personal=True), deferred=True)
    size: Mapped[BigInt | None]
    expires_at: Mapped[MaybeMoment]


def live_exports_of(user_id: int) -> Select[Any]:
    """A person's, newest first, without their content."""
    columns = (DataExport.uuid, DataExport.size, DataExport.created_at, DataExport.expires_at, DataExport.version)
    return live(DataExport, *columns).where(DataExport.user_id == user_id).order_by(DataExport.id.desc())


def live_export_content(user_id: int, uuid: UUID) -> Select[Any]:
    """The content of one of them."""
    columns = (DataExport.content, DataExport.expires_at)
    return live(DataExport, *columns).where(DataExport.user_id == user_id, DataExport.uuid == uuid)
