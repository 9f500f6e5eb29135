"""Answers to POSTs that named an Idempotency-Key, kept so that a repetition gets the same one."""

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, Select, String
from sqlalchemy.orm import Mapped, mapped_column

from webapp.db import Base
from webapp.infra.crypto import EncryptedBytes
from webapp.models.record import BIG, DOCUMENT, Moment, any_state


class IdempotencyKey(Base):
    """One client's key, what it was used for, and the answer. Written in the transaction of the deed."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    user_id: Mapped[int] = mapped_column(BIG, ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # sha-256 of the request
    created_at: Mapped[Moment]
    status: Mapped[int | None] = mapped_column(Integer)
    headers: Mapped[list[Any] | None] = mapped_column(DOCUMENT)
    # Encrypted: an answer may hold a secret that is shown once.
    body: Mapped[bytes | None] = mapped_column(EncryptedBytes("idempotency_keys.body", personal=True))


def any_kept_answer(user_id: int, key: str) -> Select[IdempotencyKey]:
    """What was answered to this key."""
    return any_state(IdempotencyKey).where(IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
