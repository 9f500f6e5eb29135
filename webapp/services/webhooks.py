"""Webhooks: making, changing, pausing and removing one, exchanging its secret. What is sent: services/dispatches.py."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from sqlalchemy import bindparam
from sqlalchemy.orm import aliased

from webapp.db import after_commit, db, read_row, read_rows, transactional
from webapp.errors import Conflict, Invalid, Missing
from webapp.infra.clock import now
from webapp.infra.destinations import ForbiddenAddress, Unresolved, addresses_of, parse_destination
from webapp.infra.signing import new_secret
from webapp.models.audit import EVENTS, HAPPENINGS
from webapp.models.record import live
from webapp.models.users import User
from webapp.models.webhooks import Webhook, WebhookHealth, failures_forgotten, live_webhook
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, record
from webapp.services.fanout import forget_filters
from webapp.services.folders import check_version
from webapp.services.inputs import Input, Line, split_commas
from webapp.services.turns import cancel_lane, renew_lane

OVERLAP = timedelta(hours=24)  # in which the former secret signs, too
MOST = 100  # webhooks: each looks at every event
FILTERS = ("*", *(f"{kind}.*" for kind in HAPPENINGS), *sorted(EVENTS))


def _filter(text: str) -> str:
    if text not in FILTERS:
        near = get_close_matches(text, FILTERS[1:], n=1, cutoff=0.5)
        hint = f"the nearest is {near[0]}" if near else "name one such as file.created, a kind such as file.*, or *"
        raise PydanticCustomError("event_filter", "There is no such event: {hint}", {"hint": hint})
    return text


def _some(events: list[str]) -> list[str]:
    if not events:
        raise PydanticCustomError("too_short", "Choose at least one event")
    return events


def _address(url: str) -> str:
    try:
        parse_destination(url)
    except ForbiddenAddress as error:
        raise PydanticCustomError("forbidden_address", "{reason}", {"reason": error.detail}) from None
    return url


EventFilter = Annotated[str, Line(61), AfterValidator(_filter), Field(json_schema_extra={"enum": list(FILTERS)})]
Events = Annotated[list[EventFilter], Field(max_length=50, json_schema_extra={"minItems": 1}), AfterValidator(_some)]
Address = Annotated[str, Line(2000), AfterValidator(_address)]
Name = Annotated[str, Line(120)]


class NewWebhook(Input):
    """A receiver and what it shall hear: names of events, file.* for all of a kind, * for all."""

    name: Name
    url: Address
    events: Events


class WebhookForm(NewWebhook):
    """The same from a page."""

    events: Annotated[Events, BeforeValidator(split_commas)]


class WebhookChange(Input):
    """Changes; what is absent stays. `enabled` false pauses it, true lets it go on and sends what waits."""

    name: Name | None = None
    url: Address | None = None
    events: Events | None = None
    enabled: bool | None = None


class WebhookFilter(Input):
    """Which webhooks to list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. `pause_reason` is manual, gone or failing; `paused_by` is who paused it, null where the vault did.
    Until `former_secret_until` two secrets sign.
    """

    id: UUID
    name: str
    url: str
    events: list[str]
    enabled: bool
    paused_at: datetime | None
    pause_reason: str | None
    paused_by: str | None
    owner: str
    former_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int


class WebhookHealthView(msgspec.Struct, frozen=True, kw_only=True):
    """How its receiver does. `failures` are deliveries given up in a row, `failed_tries` attempts in a row that found
    it down, `failing_since` is the first failure since the last success. With `next_try_at` deliveries wait: one is
    tried then, and when it arrives the others follow.
    """

    failures: int
    failed_tries: int
    failing_since: datetime | None
    next_try_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None


class WebhookLine(WebhookView, frozen=True, kw_only=True):
    """A webhook in the list."""

    health: WebhookHealthView


class NewSecretView(WebhookView, frozen=True, kw_only=True):
    """A webhook with its secret, which is shown in this answer and never again."""

    secret: str


_pauser = aliased(User)
_COLUMNS = (
    Webhook.uuid, Webhook.name, Webhook.url, Webhook.events, Webhook.paused_at, Webhook.pause_reason,
    User.name.label("owner"), Webhook.former_until, Webhook.created_at, Webhook.updated_at, Webhook.version,
    WebhookHealth.failures, WebhookHealth.failing_since, WebhookHealth.last_success_at, WebhookHealth.last_failure_at,
    WebhookHealth.failed_tries, WebhookHealth.next_try_at, _pauser.name.label("pauser"), Webhook.id.label("row_id"),
)  # fmt: skip
_ALL = (
    live(Webhook, *_COLUMNS)
    .join(WebhookHealth, WebhookHealth.webhook_id == Webhook.id)
    .join(User, User.id == Webhook.owner_id)
    .outerjoin(_pauser, _pauser.id == Webhook.paused_by_id)
)
_ONE = _ALL.where(Webhook.uuid == bindparam("webhook_id"))
_FIRST = _ALL.order_by(Webhook.id.desc()).limit(bindparam("rows"))
_NEXT = _FIRST.where(Webhook.id < bindparam("before"))
_COUNT = live(Webhook, Webhook.id).limit(MOST)


def list_webhooks(actor: Actor, query: WebhookFilter) -> Page[WebhookLine]:
    """All webhooks, newest first. Raises Invalid for a foreign cursor."""
    require(actor, "webhooks.read")
    parameters: dict[str, Any] = {"rows": query.limit + 1}
    if query.cursor:
        parameters["before"] = decode_cursor(query.cursor, (int,), of="webhooks")[0]
    rows = read_rows(_NEXT if query.cursor else _FIRST, parameters)
    return page_of(rows, query.limit, _line, lambda row: (row.row_id,), of="webhooks")


def show_webhook(actor: Actor, webhook_id: UUID) -> WebhookView:
    """One webhook. Raises Missing."""
    require(actor, "webhooks.read")
    return WebhookView(**_fields(_row(webhook_id)))


def show_health(actor: Actor, webhook_id: UUID) -> WebhookHealthView:
    """How its receiver does. Raises Missing."""
    require(actor, "webhooks.read")
    return _health(_row(webhook_id))


def create_webhook(actor: Actor, wish: NewWebhook) -> NewSecretView:
    """Make one; the answer alone holds its secret. Raises Invalid for an address the vault must not call."""
    require(actor, "webhooks.write")
    refuse_unreachable(wish.url)
    secret = new_secret()
    return NewSecretView(**_fields(_insert(actor, wish, secret)), secret=secret)


@transactional
def _insert(actor: Actor, wish: NewWebhook, secret: str) -> Any:
    if len(db.session.execute(_COUNT).all()) >= MOST:
        raise Conflict(f"There are {MOST} webhooks already. Remove one first.", code="too_many")
    webhook = Webhook(name=wish.name, url=wish.url, events=_tidy(wish.events), secret=secret, owner_id=actor.id)
    db.session.add(webhook)
    db.session.flush()
    db.session.add(WebhookHealth(webhook_id=webhook.id, failures=0))
    changes = {"url": (None, webhook.url), "events": (None, webhook.events)}
    record(actor, "webhook.created", _target(webhook), changes)
    after_commit(forget_filters)
    return db.session.execute(_ONE, {"webhook_id": webhook.uuid}).one()


def change_webhook(actor: Actor, webhook_id: UUID, wish: WebhookChange, expected: int | None = None) -> WebhookView:
    """Change, pause or resume it. Raises Missing, Stale, Invalid for an address the vault must not call."""
    require(actor, "webhooks.write")
    if wish.url is not None:
        refuse_unreachable(wish.url)
    return WebhookView(**_fields(_change(actor, webhook_id, wish, expected)))


@transactional
def _change(actor: Actor, webhook_id: UUID, wish: WebhookChange, expected: int | None) -> Any:
    webhook = find_webhook(webhook_id)
    check_version(webhook.version, expected)
    wishes = {"name": wish.name, "url": wish.url, "events": wish.events and _tidy(wish.events)}
    changes = {n: (getattr(webhook, n), v) for n, v in wishes.items() if v is not None and getattr(webhook, n) != v}
    for name, (_, value) in changes.items():
        setattr(webhook, name, value)
    if changes:
        record(actor, "webhook.changed", _target(webhook), changes)
    if "url" in changes:
        _begin_anew(webhook)
    if wish.enabled is True and webhook.paused_at is not None:
        _resume(actor, webhook)
    if wish.enabled is False and webhook.paused_at is None:
        pause(actor, webhook, "manual")
    db.session.flush()
    after_commit(forget_filters)
    return db.session.execute(_ONE, {"webhook_id": webhook_id}).one()


def pause(actor: Actor, webhook: Webhook, reason: str) -> None:
    """Send nothing more. Must run inside a transaction; events that come meanwhile are not kept for it."""
    webhook.paused_at, webhook.pause_reason, webhook.paused_by_id = now(), reason, actor.id or None
    db.session.flush()
    record(actor, "webhook.paused", _target(webhook), {"reason": (None, reason)})
    after_commit(forget_filters)


def _resume(actor: Actor, webhook: Webhook) -> None:
    webhook.paused_at = webhook.pause_reason = webhook.paused_by_id = None
    db.session.flush()
    record(actor, "webhook.resumed", _target(webhook))
    _begin_anew(webhook)


def _begin_anew(webhook: Webhook) -> None:
    """What the receiver failed before is forgotten, and what waits is due with all its attempts."""
    db.session.execute(failures_forgotten(webhook.id))
    renew_lane("webhooks", webhook.id)


@transactional
def delete_webhook(actor: Actor, webhook_id: UUID, expected: int | None = None) -> None:
    """Remove it; what it is still owed is not sent. Raises Missing, Stale."""
    require(actor, "webhooks.write")
    webhook = find_webhook(webhook_id)
    check_version(webhook.version, expected)
    webhook.deleted_at = now()
    db.session.flush()
    cancel_lane("webhooks", webhook.id, "The webhook was removed.")
    record(actor, "webhook.deleted", _target(webhook))
    after_commit(forget_filters)


@transactional
def rotate_secret(actor: Actor, webhook_id: UUID) -> NewSecretView:
    """A new secret; the present one goes on signing for a day, one that was on its way out stops. Raises Missing."""
    require(actor, "webhooks.write")
    webhook = find_webhook(webhook_id)
    webhook.former_secret, webhook.former_until = webhook.secret, now() + OVERLAP
    webhook.secret = secret = new_secret()
    db.session.flush()
    record(actor, "webhook.secret_rotated", _target(webhook))
    row = db.session.execute(_ONE, {"webhook_id": webhook_id}).one()
    return NewSecretView(**_fields(row), secret=secret)


def find_webhook(webhook_id: UUID) -> Webhook:
    """The row, locked until the transaction ends. Raises Missing."""
    webhook = db.session.scalar(live_webhook(webhook_id).with_for_update())
    if webhook is None:
        raise Missing("There is no such webhook.")
    return webhook


def refuse_unreachable(url: str) -> None:
    """Raise Invalid, naming the field, where the vault may not connect or a name has no address. Call it outside any
    transaction: asking for a name takes time."""
    try:
        addresses_of(parse_destination(url))
    except ForbiddenAddress as error:
        raise Invalid.field("url", "forbidden_address", error.detail) from error
    except Unresolved as error:
        raise Invalid.field("url", "unresolved", error.detail) from error


def _tidy(events: list[str]) -> list[str]:
    return sorted(set(events))


def _target(webhook: Webhook) -> Target:
    return Target("webhook", webhook.uuid, webhook.name)


def _row(webhook_id: UUID) -> Any:
    row = read_row(_ONE, {"webhook_id": webhook_id})
    if row is None:
        raise Missing("There is no such webhook.")
    return row


def _fields(row: Any) -> Mapping[str, Any]:
    rotating = row.former_until if row.former_until and row.former_until > now() else None
    return {"id": row.uuid, "name": row.name, "url": row.url, "events": row.events, "enabled": row.paused_at is None,
            "paused_at": row.paused_at, "pause_reason": row.pause_reason, "paused_by": row.pauser, "owner": row.owner,
            "former_secret_until": rotating, "created_at": row.created_at, "updated_at": row.updated_at,
            "version": row.version}  # fmt: skip


def _health(row: Any) -> WebhookHealthView:
    return WebhookHealthView(failures=row.failures, failed_tries=row.failed_tries, failing_since=row.failing_since,
                             next_try_at=row.next_try_at,
                             last_success_at=row.last_success_at, last_failure_at=row.last_failure_at)  # fmt: skip


def _line(row: Any) -> WebhookLine:
    return WebhookLine(**_fields(row), health=_health(row))
