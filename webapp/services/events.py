"""record(): the audit entry of a deed and the jobs that follow from it, in the transaction of the deed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from uuid_utils.compat import uuid7

from webapp.config import current_settings
from webapp.db import db
from webapp.infra.clock import now
from webapp.infra.crypto import in_row
from webapp.infra.ids import next_id
from webapp.infra.wakeups import wake_relay
from webapp.models.audit import AuditEntry
from webapp.models.jobs import KINDS, Job, JobKind
from webapp.models.webhooks import WebhookDelivery
from webapp.policies import Actor
from webapp.services.caches import forget
from webapp.services.fanout import deliveries_of
from webapp.services.news import JobChange, tell_change_later, tell_jobs_later

CONTENT_JOBS = ("files.scan", "files.sniff", "files.verify", "files.thumbnail", "files.extract")
SUBSCRIPTIONS: dict[str, tuple[str, ...]] = {"file.created": CONTENT_JOBS, "file.replaced": CONTENT_JOBS}


@dataclass(frozen=True, slots=True)
class Target:
    """The object of an event: its type and public id, its name for people, and the arguments its jobs need.

    `lane` is the line its jobs wait in; without one it is the owner's. `sealed` are arguments stored encrypted.
    """

    type: str
    uuid: UUID | None
    about: str = ""
    owner_id: int | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    lane: int | None = None
    sealed: bytes | None = None


def record(
    actor: Actor, event: str, target: Target, changes: Mapping[str, tuple[Any, Any]] | None = None
) -> list[UUID]:
    """Write the audit entry, a job row for each subscriber, a delivery for each webhook that wants the event.

    Returns the ids of the subscribers' jobs. Must run inside a transaction.
    """
    moment, listed = now(), {k: list(v) for k, v in (changes or {}).items()}
    db.session.execute(
        insert(AuditEntry).values(
            id=next_id(),
            created_at=moment,
            event=event,
            actor_id=actor.id or None,
            impersonator_id=actor.impersonator.id if actor.impersonator else None,
            token_id=actor.token_id,
            target_type=target.type,
            target_uuid=target.uuid,
            changes=listed,
            request_id=actor.request_id,
        )
    )
    forget(target.owner_id, event, target.uuid)
    tell_change_later(target.owner_id, event, target.uuid)
    told = {"type": target.type, "id": target.uuid, "name": target.about}
    insert_deliveries(actor, deliveries_of(actor, event, told, listed, moment))
    return queue_jobs(actor, _subscribers(event), target)


def _subscribers(event: str) -> list[str]:
    """The jobs that follow from it here: without a virus scanner nothing is scanned."""
    scans = bool(current_settings().clamav_url)
    return [name for name in SUBSCRIPTIONS.get(event, ()) if scans or name != "files.scan"]


def insert_deliveries(actor: Actor, rows: Sequence[Mapping[str, Any]], lane: int | None = None) -> None:
    """What webhooks are owed (see fanout), and the jobs that send it. Must run inside a transaction. `lane`: another
    than the webhook's, which may be shut."""
    if rows:
        db.session.execute(insert(WebhookDelivery), [{k: row[k] for k in row if k != "about"} for row in rows])
        queue_sends(actor, [(row["id"], row["uuid"], row["about"], lane or row["webhook_id"]) for row in rows])


def queue_sends(actor: Actor, deliveries: Sequence[tuple[int, UUID, str, int]]) -> None:
    """A job for each delivery (id, public id, words, lane), in one statement. Must run inside a
    transaction. Each webhook has a lane of its own, under its id: one that hangs holds up its own deliveries alone.
    """
    rows = [
        _job_row(actor, KINDS["webhooks.deliver"],
                 Target("webhook_delivery", uuid, about, None, {"delivery": number}, lane), f"delivery {number}")
        for number, uuid, about, lane in deliveries
    ]  # fmt: skip
    if rows:
        db.session.execute(insert(Job), rows)
        wake_relay()


def queue_jobs(actor: Actor, names: Sequence[str], target: Target, unique_key: str | None = None) -> list[UUID]:
    """Insert a job row for each name, in one statement. Must run inside a transaction; returns the jobs' ids.

    While a job with this `unique_key` is queued or runs, another one is a Conflict.
    """
    rows = [_job_row(actor, KINDS[name], target, unique_key) for name in names]
    if rows:
        db.session.execute(insert(Job), rows)
        wake_relay()
        tell_jobs_later([JobChange(target.owner_id, row["uuid"], "queued", 0, target.uuid) for row in rows])
    return [row["uuid"] for row in rows]


def _job_row(actor: Actor, kind: JobKind, target: Target, unique_key: str | None) -> dict[str, Any]:
    moment, number = now(), next_id()
    sealed = {} if target.sealed is None else {"sealed": in_row(target.sealed, number)}
    return {
        **sealed,
        "id": number,
        "uuid": uuid7(),
        "name": kind.name,
        "queue": kind.queue,
        "priority": kind.priority,
        "lane": target.lane or target.owner_id or 0,
        "args": dict(target.args),
        "about": target.about[:300],
        "target_uuid": target.uuid,
        "max_attempts": kind.max_attempts,
        "run_at": moment,
        "deadline_at": moment + timedelta(seconds=kind.deadline) if kind.deadline else None,
        "owner_id": target.owner_id,
        "request_id": actor.request_id,
        "unique_key": unique_key,
    }
