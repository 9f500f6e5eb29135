"""Schedules as they fire: the built-in ones, what is due, what was missed. docs/decisions/0018 has the rules.

Any number of schedulers may call fire_due(): a row fires in one transaction that also queues its job and moves it on.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite
from uuid_utils.compat import uuid7

from webapp.config import current_settings
from webapp.db import db, read_row, transactional
from webapp.errors import Conflict, Invalid
from webapp.infra.clock import now
from webapp.infra.cron import next_after
from webapp.infra.ids import next_id
from webapp.models.jobs import KINDS, Job
from webapp.models.record import live
from webapp.models.schedules import Schedule, live_due_schedule, live_schedules_ahead, schedule_moved
from webapp.policies import system_actor
from webapp.services.events import Target, queue_jobs

log = structlog.get_logger("webapp.schedules")
LONGEST_SLEEP = 5.0  # seconds between two looks: a schedule changed by a person is noticed after these
LATE = timedelta(seconds=60)  # an instant older than this was missed: everything was down
STEP = timedelta(minutes=10)  # a clock that went back further than this has the future planned anew
_CLOCK = text("SELECT clock_timestamp() AS moment")
_NEXT = live(Schedule, Schedule.next_at).where(Schedule.enabled.is_(True), Schedule.next_at.is_not(None))
_NEXT = _NEXT.order_by(Schedule.next_at).limit(1)


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A schedule that every vault has from its first start. What an administrator changes of it stays changed."""

    name: str
    title: str
    job: str
    cron: str
    catch_up: str = "once"
    args: dict[str, Any] = field(default_factory=dict)


BUILT_IN = (
    BuiltIn("sweep-blobs", "Sweep of orphaned bytes", "upkeep.sweep_blobs", "17 * * * *", "skip"),
    BuiltIn("sweep-expired", "Removal of expired entries", "upkeep.sweep_expired", "40 2 * * *"),
    BuiltIn("purge-trash", "Removal of old trash", "upkeep.purge_trash", "10 3 * * *"),
    BuiltIn("scrub-blobs", "Check of stored bytes", "upkeep.scrub_blobs", "45 3 * * *"),
    BuiltIn("scan-blobs", "Virus scan of stored files", "upkeep.scan_blobs", "50 4 * * *"),
    BuiltIn("verify-audit", "Check of the audit trail", "upkeep.verify_audit", "5 4 * * *"),
    BuiltIn("erase-accounts", "Erasure of deleted accounts", "upkeep.erase_accounts", "25 3 * * *"),
    BuiltIn("mail-digest", "Digest mail", "mails.digest", "0 7 * * 1"),
)


def present() -> datetime:
    """The present instant by the clock that all schedulers share: the database server's, or this host's on SQLite."""
    if db.engine.dialect.name == "sqlite":
        return now()
    writing = db.session().info.get("writing")  # then its own connection: a second one may not be there
    row = db.session.execute(_CLOCK).one() if writing else read_row(_CLOCK)
    assert row is not None  # noqa: S101
    moment: datetime = row.moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@transactional
def plant_schedules() -> None:
    """Insert the built-in schedules that are not there yet, by name. Safe from several processes at once."""
    moment, zone = present(), current_settings().tz
    dialect = sqlite if db.engine.dialect.name == "sqlite" else postgresql
    rows = [
        {
            "id": next_id(), "uuid": uuid7(), "created_at": moment, "updated_at": moment, "version": 1,
            "name": one.name, "title": one.title, "job": one.job, "args": one.args, "cron": one.cron, "zone": zone,
            "enabled": True, "catch_up": one.catch_up, "next_at": next_after(one.cron, zone, moment),
            "planned_at": moment,
        }
        for one in BUILT_IN
    ]  # fmt: skip
    db.session.execute(dialect.insert(Schedule).values(rows).on_conflict_do_nothing(index_elements=["name"]))


def fire_due() -> float:
    """Queue the jobs of all schedules that are due; returns the seconds until the next is, at most five.

    Raises Unavailable while the database does not answer; what was due then is due at the next call.
    """
    moment = present()
    _plan_anew(moment)
    while (row := read_row(_NEXT)) is not None and row.next_at <= moment:
        try:
            if not _fire_one(moment):
                break  # another scheduler has it in its hands
        except Conflict:  # somebody ran its job again by hand at this very moment
            break
    return LONGEST_SLEEP if row is None else max(0.0, min(LONGEST_SLEEP, (row.next_at - moment).total_seconds()))


@transactional
def _fire_one(moment: datetime) -> bool:
    schedule = db.session.scalar(live_due_schedule(moment))
    if schedule is None:
        return False
    values: dict[str, Any] = {"planned_at": moment, "next_at": plan(schedule, moment)}
    if _misses_all(schedule, moment):
        log.warning("schedule_skipped", schedule=schedule.name, why="missed", due=schedule.next_at)
    elif open_job_of(schedule):
        log.warning("schedule_skipped", schedule=schedule.name, why="its job still waits or runs")
    elif schedule.job in KINDS:
        values |= {"last_at": moment, "last_job": queue_job_of(schedule)}
    else:
        log.error("schedule_skipped", schedule=schedule.name, why=f"there is no job {schedule.job}")
    db.session.execute(schedule_moved(schedule.id, **values))
    return True


def plan(schedule: Schedule, moment: datetime) -> datetime | None:
    """When it fires next; None for a row from which nothing can be computed any more, such as a zone that went."""
    try:
        return next_after(schedule.cron, schedule.zone, moment)
    except Invalid as error:
        log.error("schedule_broken", schedule=schedule.name, why=error.detail)
        return None


def open_job_of(schedule: Schedule) -> UUID | None:
    """Its job that still waits or runs."""
    still = live(Job, Job.uuid).where(Job.unique_key == _key(schedule), Job.state.in_(("queued", "running")))
    found: UUID | None = db.session.scalar(still)
    return found


def queue_job_of(schedule: Schedule, owner_id: int | None = None, request_id: str | None = None) -> UUID:
    """Queue its job. Must run inside a transaction that holds the row. Raises Conflict while another is open."""
    target = Target("schedule", schedule.uuid, schedule.title, owner_id, schedule.args)
    return queue_jobs(system_actor(request_id), [schedule.job], target, unique_key=_key(schedule))[0]


def _key(schedule: Schedule) -> str:
    return f"schedule:{schedule.name}"


def _misses_all(schedule: Schedule, moment: datetime) -> bool:
    """Whether nothing is to be run: the rule is to skip what was missed, and no instant is recent enough."""
    assert schedule.next_at is not None  # noqa: S101
    if schedule.catch_up == "once" or moment - schedule.next_at <= LATE:
        return False
    recent = plan(schedule, moment - LATE)
    return recent is None or recent > moment


def _plan_anew(moment: datetime) -> None:
    """After a clock that was ahead was set right: what it planned may lie years away."""
    ahead = live(Schedule, Schedule.id).where(Schedule.planned_at > moment + STEP).limit(1)
    if read_row(ahead) is not None:
        _plan_ahead_anew(moment)


@transactional
def _plan_ahead_anew(moment: datetime) -> None:
    for schedule in db.session.scalars(live_schedules_ahead(moment + STEP)).all():
        log.warning("schedule_planned_anew", schedule=schedule.name, was=schedule.next_at)
        db.session.execute(schedule_moved(schedule.id, next_at=plan(schedule, moment), planned_at=moment))
