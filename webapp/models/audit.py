"""The audit trail: who did what to which object, append-only, written in the transaction of the deed."""

from typing import Any
from uuid import UUID

from sqlalchemy import Index, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.models.record import BIG, DOCUMENT, BigInt, Moment

# Every event that record() writes: of each kind of object, what happens to it. So audit trail and webhooks name them;
# http/hookrows.py has their words for people.
HAPPENINGS: dict[str, tuple[str, ...]] = {
    "file": ("created", "replaced", "renamed", "moved", "described", "trashed", "restored", "purged", "damaged"),
    "folder": ("created", "renamed", "moved"),
    "user": ("created", "changed", "roles_changed", "suspended", "restored", "deleted", "erased"),
    "registration": ("asked", "confirmed"),
    "invitation": ("created", "sent_again", "accepted", "deleted"),
    "email": ("change_asked",),
    "password": ("changed", "refused", "reset_asked", "reset_sent", "reset"),
    "export": ("asked",),
    "role": ("created", "changed", "deleted"),
    "identity": ("linked", "unlinked"),
    "session": ("started", "ended", "refused"),
    "job": ("replayed", "cancelled", "discarded"),
    "schedule": ("changed", "fired_by_hand"),
    "webhook": ("created", "changed", "paused", "resumed", "replayed", "secret_rotated", "deleted"),
    "settings": ("changed",),
    "mail": ("tested",),
    "cache": ("emptied",),
}
EVENTS = frozenset(f"{kind}.{what}" for kind, happenings in HAPPENINGS.items() for what in happenings)


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
