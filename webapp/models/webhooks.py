"""Webhooks: who is told about which events, every message owed or delivered, and every attempt with its answer."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, Select, String, Text, Uuid, case, func, or_, text, update
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import ReturningUpdate, Update

from webapp.db import Base
from webapp.infra.crypto import EncryptedText
from webapp.models.record import BIG, DOCUMENT, BigInt, MaybeMoment, Moment, Record, live

STATES = ("pending", "delivered", "failed")


class Webhook(Record, Base):
    """A receiver. Two secrets are valid while one is exchanged: `former_secret` signs, too, until `former_until`.

    `paused_at` means that nothing is sent; `pause_reason` is manual, gone (it answered 410) or failing. `paused_by_id`
    is the account of who paused it, None where the vault did.
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
    paused_by_id: Mapped[BigInt | None]


class WebhookHealth(Base):
    """What the machine knows of a receiver; apart, so that an attempt raises no version (decision 0007).

    `failures` counts deliveries given up since the last success, `failing_since` is the first failure after it,
    `failed_tries` the attempts in a row that found the receiver down. While `next_try_at` is set, the lane is shut: one
    delivery goes then, the others wait.
    """

    __tablename__ = "webhook_health"

    webhook_id: Mapped[int] = mapped_column(BIG, ForeignKey("webhooks.id"), primary_key=True, autoincrement=False)
    failures: Mapped[int] = mapped_column(Integer, default=0)
    failing_since: Mapped[MaybeMoment]
    last_success_at: Mapped[MaybeMoment]
    last_failure_at: Mapped[MaybeMoment]
    failed_tries: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    next_try_at: Mapped[MaybeMoment]


class WebhookDelivery(Record, Base):
    """One event owed to one receiver. `event_uuid` is the webhook-id that the receiver sees, the same in every attempt
    and replay; `payload` is the body to the letter.

    States: pending → delivered, or failed when given up. What is pending while the webhook is paused is shown as held.
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


_WELL = {"failures": 0, "failing_since": None, "failed_tries": 0, "next_try_at": None}


def _health(webhook_id: int, *criteria: Any) -> Update:
    return update(WebhookHealth).where(WebhookHealth.webhook_id == webhook_id, *criteria)


def success_noted(webhook_id: int, moment: datetime) -> Update:
    """The receiver works: what it failed before is forgiven."""
    return _health(webhook_id).values(last_success_at=moment, **_WELL)


def failure_noted(
    webhook_id: int, moment: datetime, given_up: bool, *, strike: bool, probe: bool
) -> ReturningUpdate[int, datetime | None, int, datetime | None]:
    """An attempt failed, or with it the whole delivery. While the lane is shut only the probe is a failed try."""
    shut = WebhookHealth.next_try_at.is_not(None)
    return (
        _health(webhook_id)
        .values(failures=WebhookHealth.failures + int(given_up), last_failure_at=moment,
                failing_since=func.coalesce(WebhookHealth.failing_since, moment),
                failed_tries=WebhookHealth.failed_tries + case((shut, int(probe)), else_=int(strike)))
        .returning(WebhookHealth.failures, WebhookHealth.failing_since, WebhookHealth.failed_tries,
                   WebhookHealth.next_try_at)
    )  # fmt: skip


def shut_until(webhook_id: int, moment: datetime) -> Update:
    """The next try is then; until then the lane is shut."""
    return _health(webhook_id).values(next_try_at=moment)


def tried_at(webhook_id: int, moment: datetime) -> Update:
    """Where the lane is shut, the next try is then."""
    return _health(webhook_id, WebhookHealth.next_try_at.is_not(None)).values(next_try_at=moment)


def try_claimed(webhook_id: int, due_by: datetime, until: datetime) -> ReturningUpdate[Any]:
    """The next try is this caller's, when it is due by then; a row says so. No other begins before `until`."""
    return (
        _health(webhook_id, WebhookHealth.next_try_at <= due_by)
        .values(next_try_at=until).returning(WebhookHealth.webhook_id)
    )  # fmt: skip


def failures_forgotten(webhook_id: int) -> Update:
    """A person says that the receiver works again."""
    return _health(webhook_id).values(**_WELL)


def shut_lanes(*columns: Any) -> Select[Any]:
    """Webhooks to which nothing, or only a probe, is sent: paused ones, and those whose receiver fails."""
    return (
        live(Webhook, Webhook.id, *columns)
        .join(WebhookHealth, WebhookHealth.webhook_id == Webhook.id)
        .where(or_(Webhook.paused_at.is_not(None), WebhookHealth.next_try_at.is_not(None)))
    )  # fmt: skip
