"""Which webhooks an event concerns, and what they are told. Costs a write nothing while there is no webhook.

The filters are remembered for at most a second, so a new webhook hears every event after that, a paused one none.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from webapp.db import db
from webapp.infra.ids import next_id
from webapp.infra.memory import Memory
from webapp.models.record import live
from webapp.models.webhooks import Webhook
from webapp.policies import Actor

Filters = tuple[tuple[int, str, frozenset[str]], ...]
_known: Memory[str, Filters] = Memory(max_age=1.0, size=1)
_ENABLED = live(Webhook, Webhook.id, Webhook.name, Webhook.events).where(Webhook.paused_at.is_(None))


def forget_filters() -> None:
    """Ask again at the next event: this process has changed a webhook."""
    _known.clear()


def matches(event: str, filters: frozenset[str]) -> bool:
    """Whether one of the filters means the event: its name, file.* or *."""
    return event in filters or "*" in filters or f"{event.partition('.')[0]}.*" in filters


def deliveries_of(
    actor: Actor, event: str, target: Mapping[str, Any], changes: Mapping[str, Any], moment: datetime
) -> list[dict[str, Any]]:
    """A row of webhook_deliveries for each webhook that wants the event, and the name of that webhook as `about`."""
    wanted = [(number, name) for number, name, filters in _filters(event) if matches(event, filters)]
    if not wanted:
        return []
    who = {"id": actor.uuid, "name": actor.name} if actor.id else None
    data: dict[str, Any] = {"actor": who, "target": target, "changes": changes, "request_id": actor.request_id}
    if actor.impersonator:
        data["impersonator"] = {"id": actor.impersonator.uuid, "name": actor.impersonator.name}
    payload, event_uuid = payload_of(event, moment, data), uuid7()
    return [delivery_row(number, name, event, event_uuid, payload, moment) for number, name in wanted]


def payload_of(event: str, moment: datetime, data: Mapping[str, Any]) -> str:
    """The body: {type, timestamp, data}, as Standard Webhooks has it."""
    return msgspec.json.encode({"type": event, "timestamp": moment, "data": data}).decode()


def delivery_row(
    webhook_id: int, name: str, event: str, event_uuid: UUID, payload: str, moment: datetime
) -> dict[str, Any]:
    """A pending delivery; `about` is for its job and no column."""
    return {"id": next_id(), "uuid": uuid7(), "created_at": moment, "updated_at": moment, "version": 1,
            "webhook_id": webhook_id, "event_uuid": event_uuid, "event": event, "payload": payload,
            "state": "pending", "attempts": 0, "about": f"{event} → {name}"}  # fmt: skip


def _filters(event: str) -> Sequence[tuple[int, str, frozenset[str]]]:
    known = _known.get("")
    if known is None:
        mark = _known.mark()
        # On the transaction's own connection: a second one of the pool could be waited for by all of them at once.
        rows = db.session.connection().execute(_ENABLED).all()
        known = tuple((row.id, row.name, frozenset(row.events)) for row in rows)
        if not event.startswith("webhook."):  # a webhook of this very transaction may yet be rolled back
            _known.put("", known, mark)
    return known
