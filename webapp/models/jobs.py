"""The jobs table: outbox, the queue's truth and the monitor. A broker's message only says "job N is due"."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, Select, SmallInteger, String, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.config import QUEUES as QUEUES
from webapp.db import Base
from webapp.infra.crypto import EncryptedBytes
from webapp.infra.ids import next_id
from webapp.models.record import BIG, DOCUMENT, BigInt, MaybeMoment, Moment, Record, any_state, live

STATES = ("queued", "running", "done", "failed", "dead", "cancelled")
OPEN, REPLAYABLE = ("queued", "running"), ("dead", "failed", "cancelled")
SOON, NORMAL, LATER = PRIORITIES = (1, 5, 9)  # within a queue, what is due at a lower number goes first
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class JobKind:
    """What a job's name stands for. `first_delay` doubles with each attempt; times are seconds.

    A job that has not ended `deadline` seconds after it was queued is given up.
    """

    name: str
    title: str
    queue: str = "default"
    max_attempts: int = 5
    first_delay: float = 2.0
    time_limit: float = 600.0
    priority: int = NORMAL
    deadline: float | None = None


KINDS = {
    kind.name: kind
    for kind in (
        JobKind("files.sniff", "Type detection", "files", priority=SOON),
        # a scanner that is down for three days holds files that long; then the nightly scan asks again
        JobKind("files.scan", "Virus scan", "files", max_attempts=80, first_delay=10, priority=SOON),
        JobKind("files.verify", "Checksum", "files", priority=LATER),
        JobKind("files.thumbnail", "Preview", "files", max_attempts=3),
        JobKind("files.unpack", "Unpacking", time_limit=1500),  # not in the queue of the small ones
        JobKind("files.rewind", "Going back in time", time_limit=1500),
        JobKind("files.extract", "Text for search", "files", max_attempts=3, priority=LATER),
        JobKind("webhooks.deliver", "Webhook", "webhooks", max_attempts=10, first_delay=5, time_limit=90),
        JobKind("mails.send", "Mail", "mail", max_attempts=12, first_delay=60, time_limit=300, deadline=3 * DAY),
        JobKind("mails.digest", "Digest mail", "mail", first_delay=60, priority=LATER),
        JobKind("accounts.export", "Data export", first_delay=30),
        JobKind("upkeep.erase_accounts", "Erasure of deleted accounts", "upkeep", first_delay=60, time_limit=1500),
        JobKind("upkeep.sweep_blobs", "Sweep of orphaned bytes", "upkeep"),
        JobKind("upkeep.sweep_expired", "Removal of expired entries", "upkeep", first_delay=60),
        JobKind("upkeep.scrub_blobs", "Check of stored bytes", "upkeep", first_delay=300, time_limit=1500),
        JobKind("upkeep.scan_blobs", "Virus scan of stored files", "upkeep", first_delay=300, time_limit=1500),
        JobKind("upkeep.verify_audit", "Check of the audit trail", "upkeep", first_delay=60, time_limit=1500),
        JobKind("keys.rotate", "Re-encryption under the first key", "upkeep", first_delay=60, time_limit=1500),
        JobKind("storage.move", "Move to another store", "upkeep", first_delay=60, time_limit=1500),
        JobKind("storage.convert", "Encryption of stored files", "upkeep", first_delay=60, time_limit=1500),
        JobKind("upkeep.purge_trash", "Removal of old trash", "upkeep", first_delay=60, time_limit=1500),
        JobKind("upkeep.empty_trash", "Emptying of the trash", time_limit=1500),  # somebody waits: not behind upkeep
    )
}


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Job(Record, Base):
    """One piece of work owed. `sent_at` is when the relay last handed it to the broker; `about` names its object.

    States: queued → running → done; an attempt that failed goes back to queued with a later run_at until
    max_attempts, then dead; failed means that a repetition cannot help; cancelled by a person.
    `lane` is whose line it waits in (an owner's id, a webhook's, 0 for the vault): lanes of a queue take turns.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "ix_jobs_lanes",
            "queue",
            "priority",
            "lane",
            "run_at",
            "id",
            **_where("state = 'queued' AND sent_at IS NULL"),
        ),
        Index("ix_jobs_sent", "sent_at", "id", **_where("state = 'queued' AND sent_at IS NOT NULL")),
        Index("ix_jobs_running", "heartbeat_at", **_where("state = 'running'")),
        Index("ix_jobs_owner", "owner_id", "id"),
        Index("ix_jobs_open", "owner_id", "id", **_where("state IN ('queued', 'running')")),
        Index("ix_jobs_trouble", "owner_id", "id", **_where("state IN ('failed', 'dead', 'cancelled')")),
        Index("ix_jobs_ended_badly", "state", "id", **_where("state IN ('failed', 'dead', 'cancelled')")),
        Index("ix_jobs_deadline", "deadline_at", **_where("state = 'queued' AND deadline_at IS NOT NULL")),
        Index("ix_jobs_target", "target_uuid", "id"),
        Index("uq_jobs_unique_key", "unique_key", unique=True, **_where("state IN ('queued', 'running')")),
    )

    name: Mapped[str] = mapped_column(String(60))
    queue: Mapped[str] = mapped_column(String(20))
    priority: Mapped[int] = mapped_column(SmallInteger, default=NORMAL, server_default=text("5"))
    lane: Mapped[int] = mapped_column(BIG, default=0, server_default=text("0"))
    args: Mapped[dict[str, Any]] = mapped_column(DOCUMENT, default=dict)
    # Arguments that nobody may read in the database: the mail to send.
    sealed: Mapped[bytes | None] = mapped_column(
        EncryptedBytes("jobs.sealed", personal=True, former_place="jobs.args mail"), deferred=True
    )
    about: Mapped[str] = mapped_column(String(300), default="")
    target_uuid: Mapped[UUID | None] = mapped_column(Uuid)
    state: Mapped[str] = mapped_column(String(10), default="queued")
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    max_attempts: Mapped[int] = mapped_column(Integer, default=5)
    run_at: Mapped[Moment]
    deadline_at: Mapped[MaybeMoment]
    sent_at: Mapped[MaybeMoment]
    started_at: Mapped[MaybeMoment]
    heartbeat_at: Mapped[MaybeMoment]
    finished_at: Mapped[MaybeMoment]
    progress: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[str | None] = mapped_column(Text)
    result: Mapped[dict[str, Any] | None] = mapped_column(DOCUMENT)
    unique_key: Mapped[str | None] = mapped_column(String(120))
    owner_id: Mapped[BigInt | None] = mapped_column(ForeignKey("users.id"))
    request_id: Mapped[str | None] = mapped_column(String(64))


class JobEffect(Base):
    """An effect that happened: its insert in the effect's transaction makes a second run do nothing."""

    __tablename__ = "job_effects"

    job_id: Mapped[int] = mapped_column(BIG, ForeignKey("jobs.id"), primary_key=True)
    effect: Mapped[str] = mapped_column(String(60), primary_key=True)
    created_at: Mapped[Moment]


class JobAttempt(Base):
    """An attempt that did not end well: `failed` with an error, or `lost` with its worker. The last one that did is the
    job's own row.
    """

    __tablename__ = "job_attempts"
    __table_args__ = (Index("ix_job_attempts_job_id", "job_id", "id"),)

    id: Mapped[int] = mapped_column(BIG, primary_key=True, default=next_id, autoincrement=False)
    job_id: Mapped[int] = mapped_column(BIG, ForeignKey("jobs.id"))
    number: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(String(10))
    error: Mapped[str] = mapped_column(Text)
    started_at: Mapped[Moment]
    ended_at: Mapped[Moment]


def live_job(owner_id: int | None, job_uuid: UUID) -> Select[Job]:
    """One job found through its owner; None owns those of the vault itself."""
    return live(Job).where(Job.owner_id == owner_id, Job.uuid == job_uuid)


def live_any_job(job_uuid: UUID) -> Select[Job]:
    """One job, whoever owns it."""
    return live(Job).where(Job.uuid == job_uuid)


def any_effects(job_id: int) -> Select[Any]:
    """What of a job has happened."""
    return any_state(JobEffect, JobEffect.effect).where(JobEffect.job_id == job_id)
