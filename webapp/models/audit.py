"""The audit trail: who did what to which object, append-only, written in the transaction of the deed; and its seals.

Triggers refuse every change and removal; the chain of seals shows what somebody did who could get past them.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    Select,
    String,
    Uuid,
    bindparam,
    exists,
    or_,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column

from webapp.db import Base
from webapp.infra.crypto import EncryptedText
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.groups import Group
from webapp.models.record import BIG, DOCUMENT, BigInt, Moment, any_state
from webapp.models.users import User

# Every event that record() writes: of each kind of object, what happens to it. So audit trail and webhooks name them;
# http/hookrows.py has their words for people.
HAPPENINGS: dict[str, tuple[str, ...]] = {
    "file": (
        "created",
        "replaced",
        "renamed",
        "moved",
        "described",
        "trashed",
        "restored",
        "purged",
        "damaged",
        "infected",
        "cleared",
        "version_named",
        "version_deleted",
        "versions_pruned",
    ),
    "folder": ("created", "renamed", "moved", "trashed", "restored", "purged"),
    "tree": ("rewound",),
    "user": (
        "created",
        "changed",
        "roles_changed",
        "suspended",
        "restored",
        "deleted",
        "erased",
        "impersonated",
        "impersonation_ended",
    ),
    "registration": ("asked", "confirmed"),
    "invitation": ("created", "sent_again", "accepted", "deleted"),
    "email": ("change_asked",),
    "password": ("changed", "refused", "reset_asked", "reset_sent", "reset"),
    "export": ("asked",),
    "role": ("created", "changed", "deleted"),
    "grant": ("made", "changed", "removed"),
    "share": (
        "created",
        "changed",
        "revoked",
        "revived",
        "deleted",
        "opened",
        "refused",
        "downloaded",
        "uploaded",
    ),
    "group": ("created", "changed", "deleted", "member_added", "member_changed", "member_removed"),
    "identity": ("linked", "unlinked"),
    "factor": ("added", "renamed", "removed", "reset", "refused", "codes_made", "code_used"),
    "session": ("started", "ended", "refused", "confirmed"),
    "token": ("created", "changed", "revoked", "refused"),
    "job": ("replayed", "cancelled", "discarded"),
    "schedule": ("changed", "fired_by_hand"),
    "webhook": ("created", "changed", "paused", "resumed", "replayed", "secret_rotated", "deleted"),
    "settings": ("changed",),
    "flag": ("changed",),
    "mail": ("tested",),
    "audit": ("broken", "exported", "check_asked"),
    "cache": ("emptied",),
    "key": ("rotation_asked",),
    "scan": ("ordered",),
    "storage": ("move_ordered", "convert_ordered", "scrub_ordered"),
}
EVENTS = frozenset(f"{kind}.{what}" for kind, happenings in HAPPENINGS.items() for what in happenings)


class AuditEntry(Base):
    """One event. `actor_id` is None for the system, `impersonator_id` who acted as that person, `token_id` the personal
    token that was used; `changes` maps a field to [before, after]."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_target", "target_uuid", "id"),
        Index("ix_audit_entries_actor", "actor_id", "id"),
        Index("ix_audit_entries_event", "event", "id"),
        Index("ix_audit_entries_request", "request_id", "id"),
    )

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    created_at: Mapped[Moment]
    event: Mapped[str] = mapped_column(String(60))
    actor_id: Mapped[BigInt | None]
    impersonator_id: Mapped[BigInt | None]
    token_id: Mapped[BigInt | None]
    target_type: Mapped[str] = mapped_column(String(30))
    target_uuid: Mapped[UUID | None] = mapped_column(Uuid)
    changes: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)
    request_id: Mapped[str | None] = mapped_column(String(64))


class AuditChain(Base):
    """Row 1: the key of the chain's hashes. Who seals locks it, so that links are made one after the other."""

    __tablename__ = "audit_chain"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(EncryptedText("audit_chain.key"))
    created_at: Mapped[Moment]


class AuditSeal(Base):
    """A link of the chain: an entry's place in it, and a keyed hash over the link before and the whole entry."""

    __tablename__ = "audit_seals"

    position: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    entry_id: Mapped[int] = mapped_column(BIG, unique=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed_at: Mapped[Moment]


def any_chain() -> Select[Any]:
    """The chain's key."""
    return any_state(AuditChain, AuditChain.key)


def any_unsealed() -> Select[Any]:
    """Entries with an id above `floor` that have no seal, oldest first."""
    floor: BindParameter[int] = bindparam("floor")
    sealed = exists().where(AuditSeal.entry_id == AuditEntry.id)
    return (
        any_state(AuditEntry, *AuditEntry.__table__.columns)
        .where(AuditEntry.id > floor, ~sealed)
        .order_by(AuditEntry.id)
    )


def any_links() -> Select[Any]:
    """Seals after the place `after` with their entries, in order; an entry that is gone has None in every column."""
    after: BindParameter[int] = bindparam("after")
    seal = (AuditSeal.position, AuditSeal.entry_id, AuditSeal.hash, AuditSeal.sealed_at)
    chosen = any_state(AuditSeal, *seal, *AuditEntry.__table__.columns)
    chosen = chosen.outerjoin(AuditEntry, AuditEntry.id == AuditSeal.entry_id)
    return chosen.where(AuditSeal.position > after).order_by(AuditSeal.position)


def any_last_link() -> Select[Any]:
    """The newest seal."""
    return (
        any_state(AuditSeal, AuditSeal.position, AuditSeal.entry_id, AuditSeal.hash, AuditSeal.sealed_at)
        .order_by(AuditSeal.position.desc())
        .limit(1)
    )


def any_entries() -> Select[Any]:
    """Entries, newest first, with the people in them, erased or not, and their places in the chain."""
    chosen = any_state(AuditEntry, *AuditEntry.__table__.columns, AuditSeal.position)
    chosen = chosen.outerjoin(AuditSeal, AuditSeal.entry_id == AuditEntry.id)
    for part in ("actor", "impersonator"):
        person = aliased(User)
        chosen = chosen.outerjoin(person, person.id == getattr(AuditEntry, f"{part}_id"))
        chosen = chosen.add_columns(
            *(getattr(person, name).label(f"{part}_{name}") for name in ("uuid", "name", "email"))
        )
    return chosen.order_by(AuditEntry.id.desc())


def any_person(user_id: UUID) -> ColumnElement[bool]:
    """What this person did, as themselves or as somebody else, and what was done in their name."""
    number = any_state(User, User.id).where(User.uuid == user_id).scalar_subquery()
    return or_(AuditEntry.actor_id == number, AuditEntry.impersonator_id == number)


def any_names(kind: str, uuids: Collection[UUID]) -> Select[Any] | None:
    """(uuid, name) of these objects as they are called now; None for kinds without a name."""
    model: Any = {"file": File, "folder": Folder, "user": User, "group": Group}.get(kind)
    return None if model is None else any_state(model, model.uuid, model.name).where(model.uuid.in_(list(uuids)))
