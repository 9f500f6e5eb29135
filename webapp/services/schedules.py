"""Schedules as administrators see them: list, change, pause, run now. How they fire: services/firings.py."""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import Select, bindparam

from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Conflict, Missing
from webapp.infra.cron import MOST_CHARACTERS, firings, next_after, refuse_wide_steps
from webapp.models.jobs import KINDS, Job
from webapp.models.record import live
from webapp.models.schedules import Schedule, live_schedule, schedule_moved
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, record
from webapp.services.firings import open_job_of, plan, present, queue_job_of
from webapp.services.folders import check_version
from webapp.services.inputs import Input, Line
from webapp.services.users import TimeZone
from webapp.services.worklists import JobView, job_just_queued

CatchUp = Literal["once", "skip"]
Cron = Annotated[str, Line(MOST_CHARACTERS)]
SHOWN = 5  # firings in a preview


class ScheduleFilter(Input):
    """A page of the schedules."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class ScheduleChange(Input):
    """What to change; what is absent stays. `cron` has five fields, read in `zone`, a name of the IANA database.

    `catch_up` says what becomes of firings that were missed while everything was down: one run of them, or none.
    """

    cron: Cron = ""
    zone: TimeZone = ""
    enabled: bool = True
    catch_up: CatchUp = "once"


class FiringQuery(Input):
    """A cron expression and a zone to try; what is absent is the schedule's own."""

    cron: Cron | None = None
    zone: TimeZone | None = None


class ScheduleView(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule. `next_at` is null while it is paused; `last_job` is the job it queued last, null once forgotten."""

    id: UUID
    name: str
    title: str
    job: str
    args: dict[str, Any]
    cron: str
    zone: str
    enabled: bool
    catch_up: str
    next_at: datetime | None
    last_at: datetime | None
    last_job: UUID | None
    last_state: str | None
    created_at: datetime
    updated_at: datetime
    version: int

    @property
    def beside(self) -> tuple[Any, ...]:
        """What a firing changes, though it raises no version."""
        return (self.next_at, self.last_at, self.last_job, self.last_state)


class Firings(msgspec.Struct, frozen=True, kw_only=True):
    """When a schedule fires next."""

    cron: str
    zone: str
    items: list[datetime]


_COLUMNS = (Schedule.uuid, Schedule.name, Schedule.title, Schedule.job, Schedule.args, Schedule.cron, Schedule.zone,
            Schedule.enabled, Schedule.catch_up, Schedule.next_at, Schedule.last_at, Job.uuid.label("last_job"),
            Job.state.label("last_state"), Schedule.created_at, Schedule.updated_at, Schedule.version)  # fmt: skip
_ALL = live(Schedule, *_COLUMNS).outerjoin(Job, (Job.uuid == Schedule.last_job) & Job.deleted_at.is_(None))
_ONE = _ALL.where(Schedule.uuid == bindparam("schedule_id"))


def _listing(after: bool) -> Select[Any]:
    chosen = _ALL.where(Schedule.name > bindparam("after")) if after else _ALL
    return chosen.order_by(Schedule.name).limit(bindparam("rows"))


_LIST = {after: _listing(after) for after in (False, True)}


def list_schedules(actor: Actor, query: ScheduleFilter) -> Page[ScheduleView]:
    """All schedules by name. Raises Invalid for a foreign cursor."""
    require(actor, "schedules.read")
    parameters: dict[str, Any] = {"rows": query.limit + 1}
    if query.cursor:
        parameters["after"] = decode_cursor(query.cursor, (str,), of="schedules")[0]
    rows = read_rows(_LIST[bool(query.cursor)], parameters)
    return page_of(rows, query.limit, _view, lambda row: (row.name,), of="schedules")


def show_schedule(actor: Actor, schedule_id: UUID) -> ScheduleView:
    """One schedule. Raises Missing."""
    require(actor, "schedules.read")
    row = read_row(_ONE, {"schedule_id": schedule_id})
    if row is None:
        raise Missing("There is no such schedule.")
    return _view(row)


def next_firings(actor: Actor, schedule_id: UUID, query: FiringQuery) -> Firings:
    """The next five firings, also of a cron expression and zone that are only tried. Raises Missing, Invalid."""
    schedule = show_schedule(actor, schedule_id)
    cron, zone = query.cron or schedule.cron, query.zone or schedule.zone
    items = list(islice(firings(cron, zone, present()), SHOWN))
    refuse_wide_steps(query.cron or "")
    return Firings(cron=cron, zone=zone, items=items)


@transactional
def change_schedule(actor: Actor, schedule_id: UUID, wish: ScheduleChange, expected: int | None = None) -> ScheduleView:
    """Change when it runs, pause or resume it. Raises Invalid for a time that never comes, Stale, Missing.

    What passed while it was paused is not caught up.
    """
    require(actor, "schedules.write")
    schedule = _found(schedule_id)
    check_version(schedule.version, expected)
    wishes = {name: getattr(wish, name) for name in wish.model_fields_set}
    changes = {
        name: (getattr(schedule, name), value) for name, value in wishes.items() if getattr(schedule, name) != value
    }
    if changes:
        _apply(schedule, changes)
        record(actor, "schedule.changed", Target("schedule", schedule.uuid, schedule.title), changes)
    return _view(db.session.execute(_ONE, {"schedule_id": schedule_id}).one())


def _apply(schedule: Schedule, changes: Mapping[str, tuple[Any, Any]]) -> None:
    moment = present()  # first: this select must not write half of the change
    for name, (_, value) in changes.items():
        setattr(schedule, name, value)
    if changes.keys() & {"cron", "zone", "enabled"}:
        if changes.keys() & {"cron", "zone"}:
            next_after(schedule.cron, schedule.zone, moment)  # refuses what never fires
        if "cron" in changes:
            refuse_wide_steps(schedule.cron)
        schedule.next_at = plan(schedule, moment) if schedule.enabled else None
        schedule.planned_at = moment
    db.session.flush()


@transactional
def run_schedule(actor: Actor, schedule_id: UUID) -> JobView:
    """Queue its job now, paused or not; the job is the actor's. Raises Conflict while one still waits or runs."""
    require(actor, "schedules.write")
    schedule = _found(schedule_id)
    if schedule.job not in KINDS:
        raise Conflict("This version of Holdfast does not know the job of this schedule.", code="unknown_job")
    if open_job_of(schedule):
        raise Conflict("Its job already waits or runs.", code="already_running")
    job = queue_job_of(schedule, actor.id, actor.request_id)
    db.session.execute(schedule_moved(schedule.id, last_at=present(), last_job=job))
    target = Target("schedule", schedule.uuid, schedule.title)
    record(actor, "schedule.fired_by_hand", target, {"job": (None, str(job))})
    return job_just_queued(job)


def _found(schedule_id: UUID) -> Schedule:
    schedule = db.session.scalar(live_schedule(schedule_id))
    if schedule is None:
        raise Missing("There is no such schedule.")
    return schedule


def _view(row: Any) -> ScheduleView:
    return ScheduleView(**dict(zip(ScheduleView.__struct_fields__, row, strict=True)))
