"""What time makes useless: expired sign-ins, answers, attempts and leases, jobs that ended long ago.

Everything goes in batches, each its own short transaction, so that nobody waits for the sweeper.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from sqlalchemy import ColumnElement, Select, delete, or_

from webapp.db import db, transactional
from webapp.infra.clock import now
from webapp.infra.ids import forget_leases
from webapp.models.jobs import Job, JobAttempt, JobEffect
from webapp.models.record import any_state
from webapp.models.sessions import RefreshToken, Session
from webapp.models.tokens import deleted_tokens_gone
from webapp.services import (
    attempts,
    deliveries,
    endings,
    exports,
    openings,
    registrations,
    repetitions,
    retentions,
    uploads,
)
from webapp.services.settings import read_values

log = structlog.get_logger("webapp.upkeep")
BATCH = 500  # rows of one transaction
SIGNED_OUT = timedelta(days=30)  # that ended sign-ins are kept: until then a stolen refresh token is found out
LEASES = timedelta(days=7)  # a clock may step back this far and no id repeats


class Work(Protocol):
    """The running job, as the jobs' side hands it over."""

    def progress(self, percent: float) -> None: ...


def sweep_expired(job: Work) -> dict[str, int]:
    """Remove what has expired; returns how much of each kind. A second run finds nothing and changes nothing."""
    steps: dict[str, Callable[[], int]] = {
        "sessions": lambda: _in_batches(_forget_sessions),
        "tokens": lambda: _in_batches(_forget_tokens),
        "answers": repetitions.sweep_answers,
        "attempts": attempts.sweep_attempts,
        "registrations": registrations.sweep_registrations,
        "warnings": endings.warn_of_ends,
        "visits": lambda: _in_batches(openings.sweep_visits),
        "exports": exports.sweep_exports,
        "deliveries": deliveries.sweep_deliveries,
        "versions": retentions.prune_versions,
        "uploads": uploads.sweep_uploads,
        "jobs": lambda: _in_batches(_forget_jobs),
        "leases": lambda: forget_leases(LEASES),
    }
    removed = {}
    for number, (name, step) in enumerate(steps.items(), 1):
        removed[name] = step()
        job.progress(number * 100 / len(steps))
    log.info("expired_removed", **removed)
    return removed


def _in_batches(step: Callable[[], int]) -> int:
    count = 0
    while (removed := step()) > 0:
        count += removed
    return count


@transactional
def _forget_sessions() -> int:
    """A batch of sign-ins that ended or ran out a month ago, with all refresh tokens of theirs."""
    before = now() - SIGNED_OUT
    over = or_(Session.deleted_at < before, Session.expires_at < before)
    ids = list(db.session.scalars(any_state(Session, Session.id).where(over).limit(BATCH)))
    db.session.execute(delete(RefreshToken).where(RefreshToken.session_id.in_(ids)))
    db.session.execute(delete(Session).where(Session.id.in_(ids)))
    old = any_state(RefreshToken, RefreshToken.secret_hash).where(RefreshToken.expires_at < before).limit(BATCH)
    tokens = list(db.session.scalars(old))
    db.session.execute(delete(RefreshToken).where(RefreshToken.secret_hash.in_(tokens)))
    return len(ids) + len(tokens)


@transactional
def _forget_tokens() -> int:
    return len(db.session.execute(deleted_tokens_gone(now() - SIGNED_OUT, BATCH)).all())


@transactional
def _forget_jobs() -> int:
    """A batch of jobs that ended long ago, with effects and attempts: what failed for good is kept longer."""
    ids = list(db.session.scalars(_any_old_jobs().limit(BATCH)))
    for part in (JobEffect, JobAttempt):
        db.session.execute(delete(part).where(part.job_id.in_(ids)))
    db.session.execute(delete(Job).where(Job.id.in_(ids)))
    return len(ids)


def _any_old_jobs() -> Select[int]:
    """Locked: somebody may be about to replay one."""
    settings, moment = read_values(), now()
    over = or_(
        _ended(("done", "cancelled"), moment - timedelta(days=settings.job_retention_days)),
        _ended(("failed", "dead"), moment - timedelta(days=settings.dead_letter_days)),
    )
    return any_state(Job, Job.id).where(over).with_for_update(skip_locked=True)


def _ended(states: tuple[str, ...], before: datetime) -> ColumnElement[bool]:
    return Job.state.in_(states) & (Job.finished_at < before)
