"""What people see of their jobs: the list, one job, the jobs of a file. Newest first, paged by key."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import Select, bindparam

from webapp.db import read_row, read_rows
from webapp.errors import Missing
from webapp.models.jobs import KINDS, Job
from webapp.models.record import live
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.files import show_file
from webapp.services.inputs import Input

State = Literal["queued", "running", "done", "failed", "dead", "cancelled"]


class JobFilter(Input):
    """Which jobs to list."""

    state: State | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as its owner sees it. `target_id` is the object it works on, `progress` 0 to 100."""

    id: UUID
    name: str
    queue: str
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
    started_at: datetime | None
    finished_at: datetime | None
    updated_at: datetime
    version: int

    @property
    def title(self) -> str:
        """What its name stands for."""
        return KINDS[self.name].title if self.name in KINDS else self.name


COLUMNS = (Job.uuid, Job.name, Job.queue, Job.about, Job.target_uuid, Job.state, Job.attempts, Job.max_attempts,
           Job.progress, Job.error, Job.result, Job.request_id, Job.created_at, Job.run_at, Job.started_at,
           Job.finished_at, Job.updated_at, Job.version)  # fmt: skip
_OWN = live(Job, *COLUMNS, Job.id.label("row_id")).where(Job.owner_id == bindparam("owner_id"))
_ONE = _OWN.where(Job.uuid == bindparam("job_uuid"))
_OF_THE_VAULT = live(Job, *COLUMNS).where(Job.owner_id.is_(None), Job.uuid == bindparam("job_uuid"))
_OF_TARGET = _OWN.where(Job.target_uuid == bindparam("target")).order_by(Job.id.desc()).limit(100)


def list_jobs(actor: Actor, query: JobFilter) -> Page[JobView]:
    """The actor's own jobs that match. Raises Invalid for a foreign cursor."""
    require(actor, "jobs.read")
    parameters: dict[str, Any] = {"owner_id": actor.id, "rows": query.limit + 1}
    if query.state:
        parameters["state"] = query.state
    if query.cursor:
        parameters["before"] = decode_cursor(query.cursor, (int,))[0]
    rows = read_rows(_listing(bool(query.state), bool(query.cursor)), parameters)
    return page_of(rows, query.limit, _view, lambda row: (row.row_id,))


@lru_cache(maxsize=4)
def _listing(state: bool, after: bool) -> Select[Any]:
    chosen = _OWN
    if state:
        chosen = chosen.where(Job.state == bindparam("state"))
    if after:
        chosen = chosen.where(Job.id < bindparam("before"))
    return chosen.order_by(Job.id.desc()).limit(bindparam("rows"))


def find_job(actor: Actor, job_uuid: UUID) -> JobView:
    """One job of the actor's, or of the vault itself for those who see schedules. Raises Missing for any other."""
    require(actor, "jobs.read")
    row = read_row(_ONE, {"owner_id": actor.id, "job_uuid": job_uuid})
    if row is None and actor.can("schedules.read"):
        row = read_row(_OF_THE_VAULT, {"job_uuid": job_uuid})
    if row is None:
        raise Missing("There is no such job.")
    return _view(row)


def jobs_of_file(actor: Actor, file_id: UUID) -> Page[JobView]:
    """The newest hundred jobs about a file of the actor's. Raises Missing."""
    require(actor, "jobs.read")
    show_file(actor, file_id)
    return Page(items=[_view(row) for row in read_rows(_OF_TARGET, {"owner_id": actor.id, "target": file_id})])


def _view(row: Any) -> JobView:
    return JobView(**dict(zip(JobView.__struct_fields__, row[: len(COLUMNS)], strict=True)))
