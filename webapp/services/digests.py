"""Digest mails: administrators hear what was given up, damaged or paused since each of them was last told."""

from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import func

from webapp.config import current_settings
from webapp.db import db, read_rows, transactional
from webapp.infra.clock import now
from webapp.models.files import Blob, FileVersion
from webapp.models.jobs import KINDS, Job
from webapp.models.mails import Digest, any_digest, live_holders_of
from webapp.models.record import any_state, live
from webapp.models.webhooks import Webhook
from webapp.policies import ADMIN
from webapp.services.jobs import StartedJob
from webapp.services.mails import Recipient, send_mail

log = structlog.get_logger("webapp.digests")
FIRST = timedelta(days=7)  # that the first digest of a person looks back
SHOWN = 20  # kinds of jobs and webhooks that a mail names


def send_digests(started: StartedJob) -> dict[str, int]:
    """One mail to each administrator for whom there is something to tell; returns how many. Nobody is told twice of the
    same, nor gets two mails of one job, however often it runs."""
    people = read_rows(live_holders_of(ADMIN))
    sent = sum(_tell(started, person, now()) for person in people)
    log.info("digests_sent", sent=sent, of=len(people))
    return {"sent": sent, "administrators": len(people)}


@transactional
def _tell(started: StartedJob, person: Any, moment: datetime) -> bool:
    told = db.session.scalar(any_digest(person.id))
    since = told.told_until if told else moment - FIRST
    found = _findings(since, moment)
    if found and not started.once(f"digest {person.id}"):
        return False  # what came up since then waits for the next digest
    if told:
        told.told_until = moment
    else:
        db.session.add(Digest(user_id=person.id, told_until=moment))
    if found:
        to = Recipient(person.email, person.name, person.locale, person.time_zone)
        send_mail(None, "digest", to, {"since": since.isoformat(), **found})
    return bool(found)


def _findings(since: datetime, until: datetime) -> dict[str, Any]:
    """What happened after `since`, as the templates take it; empty when nothing did. Files are private: no names."""
    dead = db.session.execute(
        live(Job, Job.name, func.count().label("count"))
        .where(Job.state.in_(("failed", "dead")), Job.finished_at > since, Job.finished_at <= until)
        .group_by(Job.name).order_by(func.count().desc(), Job.name)
    ).all()  # fmt: skip
    damaged: int = db.session.scalar(_any_damaged(since, until)) or 0
    hooks = db.session.execute(
        live(Webhook, Webhook.uuid, Webhook.name, Webhook.pause_reason)
        .where(Webhook.paused_at > since, Webhook.paused_at <= until, Webhook.pause_reason != "manual")
        .order_by(Webhook.name, Webhook.id)
    ).all()  # fmt: skip
    if not (dead or damaged or hooks):
        return {}
    office = f"{current_settings().origin}/admin"
    return {
        "jobs": [[KINDS[row.name].title if row.name in KINDS else row.name, row.count] for row in dead[:SHOWN]],
        "job_count": sum(row.count for row in dead), "damaged": damaged, "webhook_count": len(hooks),
        "webhooks": [[row.name, row.pause_reason, f"{office}/webhooks/{row.uuid}"] for row in hooks[:SHOWN]],
        "office": office,
    }  # fmt: skip


def _any_damaged(since: datetime, until: datetime) -> Any:
    """How many files hold, in some version, bytes that were found damaged then and still are."""
    damaged = any_state(Blob, Blob.id).where(Blob.damaged_at > since, Blob.damaged_at <= until)
    return any_state(FileVersion, func.count(FileVersion.file_id.distinct())).where(FileVersion.blob_id.in_(damaged))
