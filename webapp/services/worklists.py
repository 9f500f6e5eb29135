"""What people see of jobs: their own, all of them for those who run the vault, one, those of a file. Newest first."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import ColumnElement, String, and_, case, cast, func, or_, select

from webapp.db import db, read_row, read_rows
from webapp.errors import Invalid, Missing
from webapp.models.jobs import KINDS, Job
from webapp.models.record import any_state, live
from webapp.models.users import User
from webapp.models.webhooks import Webhook, shut_lanes
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.files import show_file
from webapp.services.inputs import Input, Instant, Line

COUNTED = 1001
State = Literal["queued", "running", "done", "failed", "dead", "cancelled"]


class JobTraits(Input):
    """What to ask of a job; what is absent is any. `q` is part of what it is about, of its error or request id;
    `since` and `until` are about when it was queued.
    """

    state: State | None = None
    name: Annotated[str | None, Field(max_length=60)] = None
    queue: Literal["default", "files", "mail", "webhooks", "upkeep"] | None = None
    owner_id: UUID | None = None
    q: Annotated[str, Line(200)] | None = None
    since: Instant | None = None
    until: Instant | None = None


class JobSelection(JobTraits):
    """Which jobs are meant: those of these traits, and among the ids where some are given."""

    ids: Annotated[list[UUID] | None, Field(max_length=1000)] = None


class JobFilter(JobTraits):
    """Which jobs to list: your own, or with `whose=all` everybody's and the vault's, which needs queues.read."""

    whose: Literal["mine", "all"] = "mine"
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as people see it. `target_id` is the object it works on, `progress` 0 to 100; `owner_id` and `owner` are
    absent from the vault's own. Of what is due in a queue, lower priorities go first. `held` says why a queued
    delivery of a webhook waits whatever its time: `paused`, until somebody resumes it, `failing`, until its receiver is
    back.
    """

    id: UUID
    name: str
    queue: str
    priority: int
    about: str
    target_id: UUID | None
    state: str
    attempts: int
    max_attempts: int
    progress: int
    error: str | None
    result: dict[str, Any] | None
    request_id: str | None
    created_at: datetime
    run_at: datetime
    deadline_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    version: int
    owner_id: UUID | None
    owner: str | None
    held: Literal["paused", "failing"] | None

    @property
    def title(self) -> str:
        """What its name stands for."""
        return KINDS[self.name].title if self.name in KINDS else self.name


_why = case((Webhook.paused_at.is_not(None), "paused"), else_="failing")
_shut = shut_lanes().with_only_columns(_why).where(Webhook.id == Job.lane).correlate(Job).scalar_subquery()
_held = case((and_(Job.queue == "webhooks", Job.state == "queued"), _shut))
COLUMNS = (Job.uuid, Job.name, Job.queue, Job.priority, Job.about, Job.target_uuid, Job.state, Job.attempts,
           Job.max_attempts, Job.progress, Job.error, Job.result, Job.request_id, Job.created_at, Job.run_at,
           Job.deadline_at, Job.started_at, Job.finished_at, Job.updated_at, Job.version, User.uuid.label("owner_uuid"),
           User.name.label("owner"), _held.label("held"))  # fmt: skip
_ALL = live(Job, *COLUMNS, Job.id.label("row_id")).outerjoin(User, User.id == Job.owner_id)
_NEWEST = _ALL.order_by(Job.id.desc())


def list_jobs(actor: Actor, query: JobFilter) -> Page[JobView]:
    """The jobs that match. Raises Invalid for a foreign cursor or somebody else's jobs without asking for all, Refused
    for all without the permission."""
    require(actor, "jobs.read" if query.whose == "mine" else "queues.read")
    if query.whose == "mine" and query.owner_id not in {None, actor.uuid}:
        raise Invalid.field("owner_id", "not_yours", "Other people's jobs need whose=all.")
    chosen = _NEWEST.where(*matching(query)).limit(query.limit + 1)
    if query.whose == "mine":
        chosen = chosen.where(Job.owner_id == actor.id)
    if query.cursor:
        chosen = chosen.where(Job.id < decode_cursor(query.cursor, (int,))[0])
    return page_of(read_rows(chosen), query.limit, _view, lambda row: (row.row_id,))


def count_jobs(actor: Actor, traits: JobTraits) -> int:
    """How many of everybody's jobs match; counts no further than COUNTED. Raises Refused."""
    require(actor, "queues.read")
    each = live(Job, Job.id).where(*matching(traits)).limit(COUNTED).subquery()
    return int(read_rows(select(func.count(each.c.id)))[0][0])


def matching(traits: JobTraits) -> list[ColumnElement[bool]]:
    """As criteria of a select."""
    given = traits.model_dump(include=set(CRITERIA), exclude_none=True)
    return [CRITERIA[name](value) for name, value in given.items()]


def _owner(owner_id: UUID) -> Any:
    return any_state(User, User.id).where(User.uuid == owner_id, User.deleted_at.is_(None)).scalar_subquery()


def _mentions(text: str) -> ColumnElement[bool]:
    fields = (Job.about, Job.error, Job.request_id)
    return or_(*(func.lower(cast(field, String)).contains(text.lower(), autoescape=True) for field in fields))


CRITERIA: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "state": lambda state: Job.state == state,
    "name": lambda name: Job.name == name,
    "queue": lambda queue: Job.queue == queue,
    "owner_id": lambda owner_id: Job.owner_id == _owner(owner_id),
    "q": _mentions,
    "since": lambda moment: Job.created_at >= moment,
    "until": lambda moment: Job.created_at < moment,
}


def find_job(actor: Actor, job_uuid: UUID) -> JobView:
    """One job of the actor's; any for those who see the queues, the vault's own for those who see schedules. Raises
    Missing for any other."""
    require(actor, "jobs.read")
    row = read_row(_ALL.where(Job.uuid == job_uuid, *within_reach(actor)))
    if row is None:
        raise Missing("There is no such job.")
    return _view(row)


def job_just_queued(job_uuid: UUID) -> JobView:
    """A job of the present transaction, which nobody else can see yet."""
    return _view(db.session.execute(_ALL.where(Job.uuid == job_uuid)).one())


def within_reach(actor: Actor) -> list[ColumnElement[bool]]:
    """What a job must be for this actor to see it."""
    if actor.can("queues.read"):
        return []
    mine = Job.owner_id == actor.id
    return [or_(mine, Job.owner_id.is_(None)) if actor.can("schedules.read") else mine]


def jobs_of_file(actor: Actor, file_id: UUID) -> Page[JobView]:
    """The newest hundred jobs about a file of the actor's. Raises Missing."""
    require(actor, "jobs.read")
    show_file(actor, file_id)
    rows = read_rows(_NEWEST.where(Job.owner_id == actor.id, Job.target_uuid == file_id).limit(100))
    return Page(items=[_view(row) for row in rows])


def _view(row: Any) -> JobView:
    return JobView(**dict(zip(JobView.__struct_fields__, row[: len(COLUMNS)], strict=True)))
