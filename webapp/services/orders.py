"""What people order of jobs: run again, cancel, discard. One, or for those who run the vault all that match."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Select

from webapp.db import db, transactional
from webapp.errors import Conflict, Missing
from webapp.infra.clock import now
from webapp.infra.wakeups import wake_relay
from webapp.models.jobs import OPEN, REPLAYABLE, Job, live_any_job, live_job
from webapp.models.record import change_rows, live
from webapp.policies import Actor, require
from webapp.services.events import Target, record
from webapp.services.inputs import Input
from webapp.services.news import JobChange, tell_jobs_later
from webapp.services.worklists import JobSelection, matching

HOPELESS = ("dead", "failed")
MOST = 5000  # jobs of one order; who wants more orders again
FRESH = {"state": "queued", "attempts": 0, "progress": 0, "sent_at": None, "started_at": None, "heartbeat_at": None,
         "finished_at": None, "deadline_at": None, "error": None}  # fmt: skip


class JobsOrder(Input):
    """Which jobs are meant; what is absent is any. Without a state, replays and discards are about those that failed or
    gave up, cancellations about those that wait or run.
    """

    filter: JobSelection


class Ordered(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs it was carried out on; with `more` order once more for the rest."""

    changed: int
    more: bool


@transactional
def replay_job(actor: Actor, job_uuid: UUID) -> None:
    """Queue a dead, failed or cancelled job again, with all its attempts and no deadline. Raises Missing, Conflict."""
    job = _find_job(actor, job_uuid)
    if job.state not in REPLAYABLE:
        raise Conflict("Only jobs that failed or were cancelled can run again.", code="not_replayable")
    before = job.state
    for name, value in FRESH.items():
        setattr(job, name, value)
    job.run_at = now()
    _note(actor, "job.replayed", job, before)
    wake_relay()


@transactional
def cancel_job(actor: Actor, job_uuid: UUID) -> None:
    """Cancel a job before its end; a running one stops at its next report. Raises Missing, Conflict."""
    job = _find_job(actor, job_uuid)
    if job.state not in OPEN:
        raise Conflict("This job has already ended.", code="not_cancellable")
    before = job.state
    job.state, job.finished_at = "cancelled", now()
    _note(actor, "job.cancelled", job, before)


@transactional
def replay_jobs(actor: Actor, order: JobsOrder) -> Ordered:
    """Queue all jobs again that match and failed, gave up or were cancelled. Of jobs that exclude one another (the same
    unique key) the newest is taken, and none while another waits or runs. Raises Refused.
    """
    require(actor, "queues.write")
    rows, more = _matching(order.filter, HOPELESS, REPLAYABLE)
    keys = [row.unique_key for row in rows if row.unique_key]
    taken = set(db.session.scalars(live(Job, Job.unique_key).where(Job.unique_key.in_(keys), Job.state.in_(OPEN))))
    chosen = []
    for row in rows:  # newest first
        if row.unique_key is None or row.unique_key not in taken:
            chosen.append(row)
            taken.add(row.unique_key)
    _change_all(actor, "job.replayed", order, chosen, run_at=now(), **FRESH)
    wake_relay()
    return Ordered(changed=len(chosen), more=more)


@transactional
def cancel_jobs(actor: Actor, order: JobsOrder) -> Ordered:
    """Cancel all jobs that match and wait or run; running ones stop at their next report. Raises Refused."""
    require(actor, "queues.write")
    rows, more = _matching(order.filter, OPEN, OPEN)
    _change_all(actor, "job.cancelled", order, rows, state="cancelled", finished_at=now())
    return Ordered(changed=len(rows), more=more)


@transactional
def discard_jobs(actor: Actor, order: JobsOrder) -> Ordered:
    """Take all jobs out of the lists that match and failed, gave up or were cancelled: nobody wants them any more.

    Their rows go when such jobs are forgotten; until then only the audit trail tells of them. Raises Refused.
    """
    require(actor, "queues.write")
    rows, more = _matching(order.filter, HOPELESS, REPLAYABLE)
    _change_all(actor, "job.discarded", order, rows, deleted_at=now())
    return Ordered(changed=len(rows), more=more)


def _matching(selection: JobSelection, usual: Sequence[str], possible: Sequence[str]) -> tuple[Sequence[Any], bool]:
    """Locked, newest first: what somebody else has in hand at this moment is left out."""
    states = (selection.state,) if selection.state else usual
    columns = (Job.id, Job.uuid, Job.owner_id, Job.progress, Job.target_uuid, Job.unique_key)
    chosen = live(Job, *columns).where(Job.state.in_(states), Job.state.in_(possible), *matching(selection))
    if selection.ids is not None:
        chosen = chosen.where(Job.uuid.in_(selection.ids))
    rows = db.session.execute(chosen.order_by(Job.id.desc()).limit(MOST + 1).with_for_update(skip_locked=True)).all()
    return rows[:MOST], len(rows) > MOST


def _change_all(actor: Actor, event: str, order: JobsOrder, rows: Sequence[Any], **values: Any) -> None:
    if not rows:
        return
    db.session.execute(change_rows(Job, Job.id.in_([row.id for row in rows]), **values))
    said = {name: str(value) for name, value in order.filter.model_dump(exclude_none=True).items()}
    record(actor, event, Target("jobs", None), {"filter": (None, said), "number": (None, len(rows))})
    tell_jobs_later(
        [JobChange(row.owner_id, row.uuid, values.get("state", "cancelled"), 0, row.target_uuid) for row in rows]
    )


def _note(actor: Actor, event: str, job: Job, before: str) -> None:
    record(actor, event, Target("job", job.uuid, job.about, job.owner_id), {"state": (before, job.state)})
    tell_jobs_later([JobChange(job.owner_id, job.uuid, job.state, job.progress, job.target_uuid)])


def _find_job(actor: Actor, job_uuid: UUID) -> Job:
    """Locked: their own, any for who runs the queues, the vault's own for who runs schedules. Raises Missing."""
    require(actor, "jobs.write")
    job = db.session.scalar(_within_reach(actor, job_uuid).with_for_update())
    if job is None and actor.can("schedules.write"):
        job = db.session.scalar(live_job(None, job_uuid).with_for_update())
    if job is None:
        raise Missing("There is no such job.")
    return job


def _within_reach(actor: Actor, job_uuid: UUID) -> Select[Job]:
    return live_any_job(job_uuid) if actor.can("queues.write") else live_job(actor.id, job_uuid)
