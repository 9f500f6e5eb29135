"""record(): the audit entry of a deed and the jobs that follow from it, in the transaction of the deed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import insert

from webapp.db import db
from webapp.infra.clock import now
from webapp.infra.ids import next_id
from webapp.infra.wakeups import wake_relay
from webapp.models.audit import AuditEntry
from webapp.models.jobs import KINDS, Job
from webapp.policies import Actor

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


def record(actor: Actor, event: str, target: Target, changes: Mapping[str, tuple[Any, Any]] | None = None) -> list[UUID]:
    """Write the audit entry and one job row for each subscriber. Must run inside a transaction; returns the jobs' ids."""
    moment = now()
    db.session.execute(
        insert(AuditEntry).values(
            id=next_id(), created_at=moment, event=event, actor_id=actor.id or None, target_type=target.type,
            target_uuid=target.uuid, changes={k: list(v) for k, v in (changes or {}).items()}, request_id=actor.request_id,
        )
    )  # fmt: skip
    return [queue_job(actor, name, target) for name in SUBSCRIPTIONS.get(event, ())]


def queue_job(actor: Actor, name: str, target: Target) -> UUID:
    """Insert one job row for what no event subscribes to. Must run inside a transaction."""
    kind = KINDS[name]
    job = Job(name=name, queue=kind.queue, args=dict(target.args), about=target.about[:300], target_uuid=target.uuid,
              max_attempts=kind.max_attempts, run_at=now(), owner_id=target.owner_id, request_id=actor.request_id)  # fmt: skip
    db.session.add(job)
    db.session.flush()
    wake_relay()
    return job.uuid
