"""The course of one job: attempts that did not end well, and what people ordered of it. Newest first."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from webapp.db import read_rows
from webapp.models.audit import AuditEntry
from webapp.models.jobs import Job, JobAttempt
from webapp.models.record import any_state, live
from webapp.models.users import User
from webapp.policies import Actor
from webapp.services.cursors import Page
from webapp.services.worklists import find_job

MOST = 100


class HistoryView(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a job: `failed` or `lost` is an attempt with its number, error and start; `replayed` and
    `cancelled` were ordered `by` a person, null for the vault.
    """

    at: datetime
    what: str
    number: int | None = None
    error: str | None = None
    started_at: datetime | None = None
    by: str | None = None
    request_id: str | None = None


def history_of(actor: Actor, job_uuid: UUID) -> Page[HistoryView]:
    """The newest hundred of each. Raises Missing for a job that is not theirs to see."""
    find_job(actor, job_uuid)
    both = [*map(_attempt, read_rows(_attempts_of(job_uuid))), *map(_deed, read_rows(_any_deeds_on(job_uuid)))]
    return Page(items=sorted(both, key=lambda entry: entry.at, reverse=True))


def _attempts_of(job_uuid: UUID) -> Any:
    columns = (JobAttempt.number, JobAttempt.outcome, JobAttempt.error, JobAttempt.started_at, JobAttempt.ended_at)
    chosen = live(Job, *columns).join(JobAttempt, JobAttempt.job_id == Job.id).where(Job.uuid == job_uuid)
    return chosen.order_by(JobAttempt.id.desc()).limit(MOST)


def _any_deeds_on(job_uuid: UUID) -> Any:
    """Also of people whose account is gone."""
    columns = (AuditEntry.created_at, AuditEntry.event, AuditEntry.request_id, User.name)
    chosen = any_state(AuditEntry, *columns).outerjoin(User, User.id == AuditEntry.actor_id)
    mine = chosen.where(AuditEntry.target_uuid == job_uuid, AuditEntry.target_type == "job")
    return mine.order_by(AuditEntry.id.desc()).limit(MOST)


def _attempt(row: Any) -> HistoryView:
    return HistoryView(at=row.ended_at, what=row.outcome, number=row.number, error=row.error,
                       started_at=row.started_at)  # fmt: skip


def _deed(row: Any) -> HistoryView:
    return HistoryView(at=row.created_at, what=row.event.partition(".")[2], by=row.name, request_id=row.request_id)
