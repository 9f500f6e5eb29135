"""Deliveries of webhooks: the log, one with all its attempts, sending again, trying a receiver, forgetting old ones."""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import ColumnElement, Select, and_, bindparam, case, delete, func
from uuid_utils.compat import uuid7

from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Conflict, Missing
from webapp.infra.clock import now
from webapp.models.jobs import OPEN, Job
from webapp.models.record import any_state, live
from webapp.models.webhooks import Webhook, WebhookAttempt, WebhookDelivery, WebhookHealth, live_delivery
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, insert_deliveries, record
from webapp.services.fanout import delivery_row, payload_of
from webapp.services.inputs import Input, Instant
from webapp.services.resends import BATCH, send_again
from webapp.services.settings import read_values
from webapp.services.webhooks import EventFilter, find_webhook, show_webhook

PING = "ping"
State = Literal["pending", "delivered", "failed", "held"]


class DeliveryFilter(Input):
    """Which deliveries to list."""

    state: State | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class Which(Input):
    """Which deliveries are meant: by state, by event, by when they were made. What is absent is any."""

    state: Literal["delivered", "failed"] = "failed"
    event: EventFilter | None = None
    since: Instant | None = None
    until: Instant | None = None


class ReplayWish(Input):
    """Send again what matches."""

    filter: Which = Which()


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many are sent again; with `more` ask once more for the rest."""

    queued: int
    more: bool


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    """One event owed to the receiver: held while the webhook is paused. `webhook_id` is the header that stays the same
    in every attempt and replay.
    """

    id: UUID
    webhook_id: str
    event: str
    state: str
    attempts: int
    next_at: datetime | None
    delivered_at: datetime | None
    job_id: UUID | None
    created_at: datetime
    updated_at: datetime
    version: int

    @property
    def beside(self) -> tuple[Any, ...]:
        """What its job changes, though it raises no version."""
        return (self.state, self.next_at, self.job_id)


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer, of which the first 2 KB are kept. `duration` is milliseconds."""

    sent_at: datetime
    url: str
    address: str | None
    request_headers: dict[str, str]
    status: int | None
    answer_headers: dict[str, str] | None
    answer: str | None
    duration: int
    error: str | None


class DeliveryCard(DeliveryView, frozen=True, kw_only=True):
    """A delivery with its body and every attempt, newest first."""

    payload: msgspec.Raw
    attempt_log: list[AttemptView]


def message_id(event_uuid: UUID) -> str:
    """The webhook-id header of an event."""
    return f"msg_{event_uuid.hex}"


def _newest_job(column: Any) -> Any:
    """A value of the job that has to send it; none is left once the job was forgotten."""
    return (
        live(Job, column).where(Job.target_uuid == WebhookDelivery.uuid).order_by(Job.id.desc()).limit(1)
        .correlate(WebhookDelivery).scalar_subquery()
    )  # fmt: skip


_JOB_STATE = _newest_job(Job.state)
# Whose job ended in another way than by sending (cancelled by a person, parked as poison) is not pending any more.
_state = case(
    (and_(WebhookDelivery.state == "pending", func.coalesce(_JOB_STATE, "gone").not_in(OPEN)), "failed"),
    (
        and_(
            WebhookDelivery.state == "pending",
            Webhook.paused_at.is_not(None),
            WebhookDelivery.event != PING,
            _JOB_STATE == "queued",
        ),
        "held",
    ),
    else_=WebhookDelivery.state,
)
_COLUMNS = (
    WebhookDelivery.uuid, WebhookDelivery.event_uuid, WebhookDelivery.event, _state.label("state"),
    WebhookDelivery.attempts, _newest_job(Job.run_at).label("next_at"), WebhookDelivery.delivered_at,
    _newest_job(Job.uuid).label("job_id"), WebhookDelivery.created_at, WebhookDelivery.updated_at,
    WebhookDelivery.version, WebhookHealth.next_try_at.label("shut_until"), WebhookDelivery.id.label("row_id"),
)  # fmt: skip
_ALL = (
    live(WebhookDelivery, *_COLUMNS)
    .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
    .join(WebhookHealth, WebhookHealth.webhook_id == Webhook.id)
    .where(Webhook.uuid == bindparam("webhook_id"), Webhook.deleted_at.is_(None))
)
_ONE = _ALL.where(WebhookDelivery.uuid == bindparam("delivery_id"))
_CARD = _ONE.add_columns(WebhookDelivery.payload)
_ATTEMPTS = (
    any_state(WebhookAttempt).with_only_columns(*WebhookAttempt.__table__.c)
    .where(WebhookAttempt.delivery_id == bindparam("delivery"))
    .order_by(WebhookAttempt.id.desc()).limit(50)
)  # fmt: skip


def list_deliveries(actor: Actor, webhook_id: UUID, query: DeliveryFilter) -> Page[DeliveryView]:
    """The deliveries of a webhook that match, newest first. Raises Missing, Invalid for a foreign cursor."""
    show_webhook(actor, webhook_id)
    parameters: dict[str, Any] = {"webhook_id": webhook_id, "rows": query.limit + 1}
    if query.cursor:
        parameters["before"] = decode_cursor(query.cursor, (int,), of="deliveries")[0]
    rows = read_rows(_listing(query.state, bool(query.cursor)), parameters)
    return page_of(rows, query.limit, _view, lambda row: (row.row_id,), of="deliveries")


@lru_cache(maxsize=10)
def _listing(state: State | None, after: bool) -> Select[Any]:
    chosen = _ALL.where(*_shown_as(state)) if state else _ALL
    if after:
        chosen = chosen.where(WebhookDelivery.id < bindparam("before"))
    return chosen.order_by(WebhookDelivery.id.desc()).limit(bindparam("rows"))


def _shown_as(state: State) -> tuple[ColumnElement[bool], ...]:
    """In this state for people. The stored state comes first, because it has an index."""
    stored = {"failed": ("failed", "pending"), "held": ("pending",)}.get(state, (state,))
    return WebhookDelivery.state.in_(stored), _state == state


def show_delivery(actor: Actor, webhook_id: UUID, delivery_id: UUID) -> DeliveryCard:
    """One delivery with its attempts. Raises Missing."""
    require(actor, "webhooks.read")
    row = read_row(_CARD, {"webhook_id": webhook_id, "delivery_id": delivery_id})
    if row is None:
        raise Missing("There is no such delivery.")
    attempts = [_attempt(each) for each in read_rows(_ATTEMPTS, {"delivery": row.row_id})]
    return DeliveryCard(**_fields(row), payload=msgspec.Raw(row.payload.encode()), attempt_log=attempts)


@transactional
def replay_delivery(actor: Actor, webhook_id: UUID, delivery_id: UUID) -> DeliveryView:
    """Send it again, under the same webhook-id. Raises Missing, Conflict while it still waits or is paused."""
    require(actor, "webhooks.write")
    webhook = find_webhook(webhook_id)
    _refuse_paused(webhook)
    delivery = db.session.scalar(live_delivery(webhook.id, delivery_id).with_for_update())
    if delivery is None:
        raise Missing("There is no such delivery.")
    row = db.session.execute(_ONE, {"webhook_id": webhook_id, "delivery_id": delivery_id}).one()
    if row.state == "pending":
        raise Conflict("This delivery is already on its way.", code="not_replayable")
    target = Target("webhook", webhook.uuid, webhook.name)
    record(actor, "webhook.replayed", target, {"delivery": (None, str(delivery_id))})
    send_again(actor, webhook, [delivery.id])
    return _view(db.session.execute(_ONE, {"webhook_id": webhook_id, "delivery_id": delivery_id}).one())


@transactional
def replay_deliveries(actor: Actor, webhook_id: UUID, wish: ReplayWish) -> Replayed:
    """Send all again that match, oldest first, at most 500 at once. Raises Missing, Conflict while it is paused."""
    require(actor, "webhooks.write")
    webhook = find_webhook(webhook_id)
    _refuse_paused(webhook)
    ids = list(db.session.scalars(_matching(webhook.id, wish.filter)))
    target, found = Target("webhook", webhook.uuid, webhook.name), ids[:BATCH]
    if found:
        record(actor, "webhook.replayed", target, {"deliveries": (None, len(found))})
        send_again(actor, webhook, found)
    return Replayed(queued=len(found), more=len(ids) > len(found))


def _refuse_paused(webhook: Webhook) -> None:
    if webhook.paused_at is not None:
        raise Conflict("This webhook is paused. Resume it first.", code="paused")


def _matching(webhook_id: int, which: Which) -> Select[int]:
    chosen = live(WebhookDelivery, WebhookDelivery.id).join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
    chosen = chosen.where(WebhookDelivery.webhook_id == webhook_id, *_shown_as(which.state))
    if which.event and which.event != "*":
        kind, star, _ = which.event.partition("*")
        name = WebhookDelivery.event
        chosen = chosen.where(name.startswith(kind, autoescape=True)) if star else chosen.where(name == kind)
    if which.since:
        chosen = chosen.where(WebhookDelivery.created_at >= which.since)
    if which.until:
        chosen = chosen.where(WebhookDelivery.created_at < which.until)
    return chosen.order_by(WebhookDelivery.id).limit(BATCH + 1)


@transactional
def ping_webhook(actor: Actor, webhook_id: UUID) -> DeliveryView:
    """Send an event named ping, once, also while the webhook is paused. Raises Missing."""
    require(actor, "webhooks.write")
    webhook, moment = find_webhook(webhook_id), now()
    data = {"webhook": {"id": webhook.uuid, "name": webhook.name}, "actor": {"id": actor.uuid, "name": actor.name}}
    row = delivery_row(webhook.id, webhook.name, PING, uuid7(), payload_of(PING, moment, data), moment)
    insert_deliveries(actor, [row], lane=-webhook.id)
    return _view(db.session.execute(_ONE, {"webhook_id": webhook_id, "delivery_id": row["uuid"]}).one())


def sweep_deliveries() -> int:
    """Forget deliveries older than the settings say, with their attempts, in batches. Returns how many."""
    before, count = now() - timedelta(days=read_values().webhook_log_days), 0
    while removed := _forget(before):
        count += removed
    return count


@transactional
def _forget(before: datetime) -> int:
    ids = list(db.session.scalars(_any_before(before)))
    db.session.execute(delete(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(ids)))
    db.session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids)))
    return len(ids)


def _any_before(before: datetime) -> Select[int]:
    return (
        any_state(WebhookDelivery, WebhookDelivery.id).where(WebhookDelivery.created_at < before).limit(BATCH)
        .with_for_update(skip_locked=True)
    )  # fmt: skip


def _fields(row: Any) -> dict[str, Any]:
    waits = row.state == "pending"
    return {"id": row.uuid, "webhook_id": message_id(row.event_uuid), "event": row.event, "state": row.state,
            "attempts": row.attempts, "next_at": _next_at(row) if waits else None, "delivered_at": row.delivered_at,
            "job_id": row.job_id, "created_at": row.created_at, "updated_at": row.updated_at,
            "version": row.version}  # fmt: skip


def _next_at(row: Any) -> datetime | None:
    """When its job is due, or later, when the receiver is tried again."""
    due: datetime | None = row.next_at
    shut: datetime | None = row.shut_until if row.event != PING else None
    return max(due, shut) if due and shut else due


def _view(row: Any) -> DeliveryView:
    return DeliveryView(**_fields(row))


def _attempt(row: Any) -> AttemptView:
    return AttemptView(sent_at=row.created_at, url=row.url, address=row.address, request_headers=row.request_headers,
                       status=row.status, answer_headers=row.answer_headers, answer=row.answer, duration=row.duration,
                       error=row.error)  # fmt: skip
