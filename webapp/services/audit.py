"""Reading the audit trail: who did what to which object, newest first, whole for who takes it away."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from pydantic import Field
from sqlalchemy import ColumnElement

from webapp.config import current_settings
from webapp.db import read_row, read_rows, transactional
from webapp.infra.ids import first_id_at
from webapp.models.audit import EVENTS, HAPPENINGS, AuditEntry, any_entries, any_last_link, any_names, any_person
from webapp.models.jobs import Job
from webapp.models.record import live
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, queue_jobs, record
from webapp.services.inputs import Input, Instant, Line

BATCH = 1000  # entries of one read while the trail is taken away
CHECK = "upkeep.verify_audit"


class AuditTraits(Input):
    """What to ask of an entry; what is absent is any. `event` is one event, or `file.*` for all about files. `actor_id`
    finds also what they did while they acted as others. A day without a time counts in the reader's time zone; the day
    `until` is included."""

    event: Annotated[str | None, Field(pattern=r"^[a-z]{2,30}\.(\*|[a-z_]{2,40})$")] = None
    actor_id: UUID | None = None
    target_id: UUID | None = None
    request_id: Annotated[str, Line(64)] | None = None
    since: Instant | date | None = None
    until: Instant | date | None = None


class AuditFilter(AuditTraits):
    """Which entries to list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class AuditExport(AuditTraits):
    """Which entries to take away, and how: comma-separated values, or one JSON object a line."""

    format: Literal["csv", "jsonl"] = "jsonl"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in the trail, by the name of now; an erased account has none."""

    id: UUID
    name: str
    email: str


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `actor` is null for the system, `impersonator` who acted as that person; `token` says that a personal
    token was used. `changes` maps a field to [before, after]. `seal` is its place in the chain, null for some seconds.
    """

    at: datetime
    event: str
    actor: Person | None
    impersonator: Person | None
    token: bool
    target_type: str
    target_id: UUID | None
    target_name: str | None
    changes: dict[str, Any]
    request_id: str | None
    seal: int | None


class TrailView(msgspec.Struct, frozen=True, kw_only=True):
    """How the chain stands: its last link, and the last check of it, which is a job. `state` is the job's."""

    links: int
    sealed_at: datetime | None
    checked_at: datetime | None
    check_id: UUID | None
    state: str | None
    found: str | None


def list_entries(actor: Actor, query: AuditFilter) -> Page[EntryView]:
    """Entries that match. Raises Refused, Invalid for a foreign cursor."""
    require(actor, "audit.read")
    chosen = any_entries().where(*_criteria(actor, query)).limit(query.limit + 1)
    if query.cursor:
        chosen = chosen.where(AuditEntry.id < decode_cursor(query.cursor, (int,), of="audit")[0])
    rows = read_rows(chosen)
    names = _names(rows)
    return page_of(rows, query.limit, lambda row: _view(row, names), lambda row: (row.id,), of="audit")


def export_entries(actor: Actor, query: AuditExport) -> Iterator[EntryView]:
    """All entries that match, newest first, a thousand at a time; that they were taken away is recorded first."""
    require(actor, "audit.read")
    _note_export(actor, query)
    return _all_entries(_criteria(actor, query))


def show_trail(actor: Actor) -> TrailView:
    """How the chain stands. Raises Refused."""
    require(actor, "audit.read")
    columns = (Job.uuid, Job.state, Job.finished_at, Job.error)
    last = read_row(any_last_link())
    job = read_row(live(Job, *columns).where(Job.name == CHECK).order_by(Job.id.desc()).limit(1))
    return TrailView(
        links=last.position if last else 0, sealed_at=last.sealed_at if last else None,
        check_id=job.uuid if job else None, checked_at=job.finished_at if job else None,
        state=job.state if job else None, found=job.error if job else None,
    )  # fmt: skip


@transactional
def check_trail(actor: Actor) -> UUID:
    """Have the whole chain verified by a job and return its id. Raises Conflict while such a check waits or runs."""
    require(actor, "audit.write")
    target = Target("audit", None, owner_id=actor.id)
    record(actor, "audit.check_asked", Target("audit", None))
    return queue_jobs(actor, [CHECK], target, unique_key=CHECK)[0]


@transactional
def _note_export(actor: Actor, query: AuditExport) -> None:
    asked = query.model_dump(mode="json", exclude_none=True)
    record(actor, "audit.exported", Target("audit", None), {name: (None, value) for name, value in asked.items()})


def _all_entries(criteria: list[ColumnElement[bool]]) -> Iterator[EntryView]:
    chosen = any_entries().where(*criteria).limit(BATCH)
    rows = read_rows(chosen)
    while rows:
        names = _names(rows)
        yield from (_view(row, names) for row in rows)
        rows = read_rows(chosen.where(AuditEntry.id < rows[-1].id)) if len(rows) == BATCH else []


def _criteria(actor: Actor, traits: AuditTraits) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if traits.event:
        kind, what = traits.event.split(".")
        named = [f"{kind}.{each}" for each in HAPPENINGS.get(kind, ())] if what == "*" else [traits.event]
        found.append(AuditEntry.event.in_([name for name in named if name in EVENTS]))
    if traits.actor_id:
        found.append(any_person(traits.actor_id))
    if traits.target_id:
        found.append(AuditEntry.target_uuid == traits.target_id)
    if traits.request_id:
        found.append(AuditEntry.request_id == traits.request_id)
    if traits.since:  # by the id, which begins with the time: along the key, whatever else is asked
        found.append(AuditEntry.id >= first_id_at(_moment(actor, traits.since)))
    if traits.until:
        found.append(AuditEntry.id < first_id_at(_moment(actor, traits.until, after=True)))
    return found


def _moment(actor: Actor, asked: datetime | date, *, after: bool = False) -> datetime:
    """The moment itself; of a day its first, or the one `after` its last, in the actor's time zone."""
    if isinstance(asked, datetime):
        return asked
    day = asked + timedelta(days=1) if after and asked < date.max else asked
    return datetime.combine(day, time(), ZoneInfo(actor.time_zone or current_settings().tz))


def _names(rows: Any) -> dict[tuple[str, UUID], str]:
    """Names of now of the objects on a page, a statement for each kind of object."""
    names: dict[tuple[str, UUID], str] = {}
    for kind in sorted({row.target_type for row in rows}):
        wanted = {row.target_uuid for row in rows if row.target_type == kind and row.target_uuid}
        statement = any_names(kind, wanted) if wanted else None
        found = [] if statement is None else read_rows(statement)
        names |= {(kind, row.uuid): row.name for row in found}
    return names


def _view(row: Any, names: dict[tuple[str, UUID], str]) -> EntryView:
    return EntryView(
        at=row.created_at, event=row.event, token=row.token_id is not None,
        actor=_person(row, "actor"), impersonator=_person(row, "impersonator"), target_type=row.target_type,
        target_id=row.target_uuid, target_name=names.get((row.target_type, row.target_uuid)), changes=row.changes,
        request_id=row.request_id, seal=row.position,
    )  # fmt: skip


def _person(row: Any, part: str) -> Person | None:
    number = getattr(row, f"{part}_uuid")
    if number is None:
        return None
    return Person(id=number, name=getattr(row, f"{part}_name"), email=getattr(row, f"{part}_email"))
