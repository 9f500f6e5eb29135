"""The audit trail: who did what to which object, append-only, written in the transaction of the deed."""

from typing import Any
from uuid import UUID

from sqlalchemy import Index, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import BIG, DOCUMENT, BigInt, Moment


class AuditEntry(Base):
    """One event. `actor_id` is None for the system; `changes` maps a field to [before, after]."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_target", "target_uuid", "id"),
        Index("ix_audit_entries_actor", "actor_id", "id"),
    )

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    created_at: Mapped[Moment]
    event: Mapped[str] = mapped_column(String(60))
    actor_id: Mapped[BigInt | None]
    target_type: Mapped[str] = mapped_column(String(30))
    target_uuid: Mapped[UUID | None] = mapped_column(Uuid)
    changes: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)
    request_id: Mapped[str | None] = mapped_column(String(64))
