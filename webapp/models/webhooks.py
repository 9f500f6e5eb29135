"""Webhooks: who is told about which events, every message owed or delivered, and every attempt with its answer."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, Select, String, Text, Uuid, func, text, update
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import ReturningUpdate, Update

from webapp.db import Base
from webapp.infra.crypto import EncryptedText
from webapp.models.record import BIG, DOCUMENT, BigInt, MaybeMoment, Moment, Record, live

STATES = ("pending", "delivered", "failed", "held")


class Webhook(Record, Base):
    """A receiver. Two secrets are valid while one is exchanged: `former_secret` signs, too, until `former_until`.

    `paused_at` means that nothing is sent; `pause_reason` is manual, gone (it answered 410) or failing.
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        Index("ix_webhooks_enabled", "id", sqlite_where=text("paused_at IS NULL AND deleted_at IS NULL"),
              postgresql_where=text("paused_at IS NULL AND deleted_at IS NULL")),
    )  # fmt: skip

    name: Mapped[str] = mapped_column(String(120))
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[list[str]] = mapped_column(DOCUMENT)
    secret: Mapped[str] = mapped_column(EncryptedText("webhooks.secret"))
    former_secret: Mapped[str | None] = mapped_column(EncryptedText("webhooks.former_secret"))
    former_until: Mapped[MaybeMoment]
    owner_id: Mapped[BigInt] = mapped_column(ForeignKey("users.id"))
    paused_at: Mapped[MaybeMoment]
    pause_reason: Mapped[str | None] = mapped_column(String(20))


class WebhookHealth(Base):
    """What the machine knows of a receiver; apart, so that an attempt raises no version (decision 0007).

    `failures` counts deliveries given up since the last success, `failing_since` is the first failure after it.
    """

    __tablename__ = "webhook_health"

    webhook_id: Mapped[int] = mapped_column(BIG, ForeignKey("webhooks.id"), primary_key=True, autoincrement=False)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    failing_since: Mapped[MaybeMoment]
    last_success_at: Mapped[MaybeMoment]
    last_failure_at: Mapped[MaybeMoment]


class WebhookDelivery(Record, Base):
    """One event owed to one receiver. `event_uuid` is the webhook-id that the receiver sees, the same in every attempt
    and replay; `payload` is the body to the letter.

    States: pending → delivered, or failed when given up; held while the webhook is paused.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_webhook", "webhook_id", "id"),
        Index("ix_webhook_deliveries_state", "webhook_id", "state", "id"),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    webhook_id: Mapped[BigInt] = mapped_column(ForeignKey("webhooks.id"))
    event_uuid: Mapped[UUID] = mapped_column(Uuid)
    event: Mapped[str] = mapped_column(String(60))
    payload: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(10), default="pending")
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    delivered_at: Mapped[MaybeMoment]


class WebhookAttempt(Base):
    """One request and what came of it: the first 2 KB of the answer, or why there was none. Times in milliseconds."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (Index("ix_webhook_attempts_delivery", "delivery_id", "id"),)

    id: Mapped[int] = mapped_column(BIG, primary_key=True, autoincrement=False)
    delivery_id: Mapped[BigInt] = mapped_column(ForeignKey("webhook_deliveries.id"))
    created_at: Mapped[Moment]
    url: Mapped[str] = mapped_column(String(2000))
    address: Mapped[str | None] = mapped_column(String(60))
    request_headers: Mapped[dict[str, Any]] = mapped_column(DOCUMENT)
    status: Mapped[int | None] = mapped_column(Integer)
    answer_headers: Mapped[dict[str, Any] | None] = mapped_column(DOCUMENT)
    answer: Mapped[str | None] = mapped_column(Text)
    duration: Mapped[int] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(String(500))


def live_webhook(webhook_uuid: UUID) -> Select[Webhook]:
    """One webhook by its public id."""
    return live(Webhook).where(Webhook.uuid == webhook_uuid)


def live_delivery(webhook_id: int, delivery_uuid: UUID) -> Select[WebhookDelivery]:
    """One delivery, found through its webhook."""
    return live(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.uuid == delivery_uuid)


def success_noted(webhook_id: int, moment: datetime) -> ReturningUpdate[int, datetime | None]:
    """The receiver works: what it failed before is forgiven."""
    return (
        update(WebhookHealth)
        .where(WebhookHealth.webhook_id == webhook_id)
        .values(failures=0, failing_since=None, last_success_at=moment)
        .returning(WebhookHealth.failures, WebhookHealth.failing_since)
    )


def failure_noted(webhook_id: int, moment: datetime, given_up: bool) -> ReturningUpdate[int, datetime | None]:
    """An attempt failed, or with it the whole delivery."""
    return (
        update(WebhookHealth)
        .where(WebhookHealth.webhook_id == webhook_id)
        .values(failures=WebhookHealth.failures + int(given_up), last_failure_at=moment,
                failing_since=func.coalesce(WebhookHealth.failing_since, moment))
        .returning(WebhookHealth.failures, WebhookHealth.failing_since)
    )  # fmt: skip


def failures_forgotten(webhook_id: int) -> Update:
    """A person says that the receiver works again."""
    return update(WebhookHealth).where(WebhookHealth.webhook_id == webhook_id).values(failures=0, failing_since=None)
