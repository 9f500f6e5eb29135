"""record(): the audit entry of a deed and the jobs that follow from it, in the transaction of the deed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from uuid_utils.compat import uuid7

from webapp.db import db
from webapp.infra.clock import now
from webapp.infra.ids import next_id
from webapp.infra.wakeups import wake_relay
from webapp.models.audit import AuditEntry
from webapp.models.jobs import KINDS, Job, JobKind
from webapp.policies import Actor
from webapp.services.caches import forget

SUBSCRIPTIONS: dict[str, tuple[str, ...]] = {
    "file.created": ("files.sniff", "files.verify", "files.thumbnail"),
    "file.replaced": ("files.sniff", "files.verify", "files.thumbnail"),
}


@dataclass(frozen=True, slots=True)
class Target:
    """The object of an event: its type and public id, its name for people, and the arguments its jobs need."""

    type: str
    uuid: UUID | None
    about: str = ""
    owner_id: int | None = None
    args: Mapping[str, Any] = field(default_factory=dict)


def record(
    actor: Actor, event: str, target: Target, changes: Mapping[str, tuple[Any, Any]] | None = None
) -> list[UUID]:
    """Write the audit entry and a job row for each subscriber; returns their ids. Must run inside a transaction."""
    moment = now()
    db.session.execute(
        insert(AuditEntry).values(
            id=next_id(),
            created_at=moment,
            event=event,
            actor_id=actor.id or None,
            target_type=target.type,
            target_uuid=target.uuid,
            changes={k: list(v) for k, v in (changes or {}).items()},
            request_id=actor.request_id,
        )
    )
    forget(target.owner_id, event)
    return queue_jobs(actor, SUBSCRIPTIONS.get(event, ()), target)


def queue_jobs(actor: Actor, names: Sequence[str], target: Target, unique_key: str | None = None) -> list[UUID]:
    """Insert a job row for each name, in one statement. Must run inside a transaction; returns the jobs' ids.

    While a job with this `unique_key` is queued or runs, another one is a Conflict.
    """
    rows = [_job_row(actor, KINDS[name], target, unique_key) for name in names]
    if rows:
        db.session.execute(insert(Job), rows)
        wake_relay()
    return [row["uuid"] for row in rows]


def _job_row(actor: Actor, kind: JobKind, target: Target, unique_key: str | None) -> dict[str, Any]:
    return {
        "uuid": uuid7(),
        "name": kind.name,
        "queue": kind.queue,
        "args": dict(target.args),
        "about": target.about[:300],
        "target_uuid": target.uuid,
        "max_attempts": kind.max_attempts,
        "run_at": now(),
        "owner_id": target.owner_id,
        "request_id": actor.request_id,
        "unique_key": unique_key,
    }
