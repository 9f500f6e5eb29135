"""Feature flags as administrators see and set them. Whether one is on: services/features.py."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field, field_validator

from webapp.db import after_commit, db, read_rows, transactional
from webapp.errors import Invalid, Missing
from webapp.infra.clock import now
from webapp.models.flags import Flag, first_flag, live_chosen, live_flag, live_flags, live_named_groups, live_people
from webapp.policies import Actor, require
from webapp.services.cursors import Page
from webapp.services.events import Target, record
from webapp.services.features import FEATURES, State, forget_states, state_of
from webapp.services.folders import check_version
from webapp.services.inputs import Input, Instant, Line, split_commas
from webapp.services.users import email_key

MOST = 100  # people, and groups, of one flag
UNCHANGED = 1  # version of a flag that nobody changed
How = Literal["on", "partly", "off", "planned", "over"]


class FlagChange(Input):
    """What to change; what is absent stays, null empties a field. `people` are e-mail addresses of accounts, `groups`
    ids of groups: it is on for these and for `percentage` of everybody, always the same. Before `starts_at` and from
    `ends_at` on it is off.
    """

    enabled: bool = False
    percentage: Annotated[int, Field(ge=0, le=100)] = 100
    people: Annotated[list[Annotated[str, Line(254)]] | None, Field(max_length=MOST)] = None
    groups: Annotated[list[UUID] | None, Field(max_length=MOST)] = None
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    notes: Annotated[str | None, Field(max_length=2000)] = None

    @field_validator("people", "groups", mode="before")
    @classmethod
    def _split(cls, values: Any) -> Any:
        return split_commas(values)


class FlagPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody for whom it is on."""

    id: UUID
    name: str
    email: str


class FlagGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group for which it is on."""

    id: UUID
    name: str


class FlagView(msgspec.Struct, frozen=True, kw_only=True):
    """A feature. `how` is what counts at this moment; `asked_at` when code asked for it last, by the minute."""

    name: str
    title: str
    about: str
    how: How
    default: bool
    enabled: bool
    percentage: int
    people: list[FlagPerson]
    groups: list[FlagGroup]
    starts_at: datetime | None
    ends_at: datetime | None
    notes: str
    asked_at: datetime | None
    updated_at: datetime | None
    version: int

    @property
    def beside(self) -> tuple[Any, ...]:
        """What changes with time, though it raises no version."""
        return (self.how, self.asked_at, self.people, self.groups)


def list_flags(actor: Actor) -> Page[FlagView]:
    """Every feature. Raises Refused."""
    require(actor, "flags.read")
    rows = {row.name: row for row in read_rows(live_flags())}
    return Page(items=_views([rows.get(name) for name in FEATURES], list(FEATURES)))


def show_flag(actor: Actor, name: str) -> FlagView:
    """One feature. Raises Missing for one that is not declared."""
    require(actor, "flags.read")
    _refuse_unknown(name)
    rows = {row.name: row for row in read_rows(live_flags())}
    return _views([rows.get(name)], [name])[0]


@transactional
def change_flag(actor: Actor, name: str, wish: FlagChange, expected: int | None = None) -> FlagView:
    """Switch it. Raises Missing, Stale, and Invalid for people and groups that are not there or a time that ends before
    it begins. In force here at once, in every other process within two seconds."""
    require(actor, "flags.write")
    _refuse_unknown(name)
    flag = _held(name)
    check_version(flag.version, expected)
    before = _plain(flag)
    for field in wish.model_fields_set & {"enabled", "percentage", "starts_at", "ends_at"}:
        setattr(flag, field, getattr(wish, field))
    if "notes" in wish.model_fields_set:
        flag.notes = wish.notes or ""
    if "people" in wish.model_fields_set:
        flag.people = _ids_of(wish.people or [])
    if "groups" in wish.model_fields_set:
        wanted = set(wish.groups or [])
        found = {row.uuid: row.id for row in db.session.execute(live_named_groups(wanted))}
        flag.groups = sorted(_known("groups", found, group) for group in wanted)
    if flag.starts_at and flag.ends_at and flag.ends_at <= flag.starts_at:
        raise Invalid.field("ends_at", "order", "This is not after the beginning.")
    changes = {field: (value, after) for field, value in before.items() if value != (after := _plain(flag)[field])}
    if changes:
        db.session.flush()
        record(actor, "flag.changed", Target("flag", flag.uuid, name), changes)
        after_commit(forget_states)
    return _views([flag], [name], writing=True)[0]


def _held(name: str) -> Flag:
    flag = db.session.scalar(live_flag(name))
    if flag is None:
        db.session.execute(first_flag(db.engine.dialect.name, name))
        flag = db.session.scalars(live_flag(name)).one()
    return flag


def _ids_of(emails: Sequence[str]) -> list[int]:
    wanted = {email_key(email): email for email in emails}
    found = {row.email_key: row.id for row in db.session.execute(live_people(wanted))}
    return sorted(_known("people", found, key) for key in wanted)


def _known(field: str, found: dict[Any, int], key: Any) -> int:
    if key not in found:
        raise Invalid.field(field, "unknown", f"There is no {'account' if field == 'people' else 'group'} “{key}”.")
    return found[key]


def _refuse_unknown(name: str) -> None:
    if name not in FEATURES:
        raise Missing("There is no such feature.")


def _plain(flag: Flag) -> dict[str, Any]:
    """What the audit trail compares."""
    when = {name: moment.isoformat() if (moment := getattr(flag, name)) else None for name in ("starts_at", "ends_at")}
    return {"enabled": flag.enabled, "percentage": flag.percentage, "people": len(flag.people), "notes": flag.notes,
            "groups": len(flag.groups), **when}  # fmt: skip


def _views(rows: Sequence[Any], names: Sequence[str], *, writing: bool = False) -> list[FlagView]:
    people = {number for row in rows if row for number in row.people}
    groups = {number for row in rows if row for number in row.groups}
    who, which = live_chosen(people, groups)
    read = (lambda statement: db.session.execute(statement).all()) if writing else read_rows
    persons, sets = read(who) if people else [], read(which) if groups else []
    return [_view(name, row, persons, sets) for name, row in zip(names, rows, strict=True)]


def _view(name: str, row: Any, persons: Sequence[Any], sets: Sequence[Any]) -> FlagView:
    declared = FEATURES[name]
    state = State(declared.default, 100, frozenset(), frozenset(), None, None, None) if row is None else state_of(row)
    return FlagView(
        name=name, title=declared.title, about=declared.about, how=_how(state), default=declared.default,
        enabled=state.enabled, percentage=state.percentage,
        people=[FlagPerson(id=one.uuid, name=one.name, email=one.email) for one in persons if one.id in state.people],
        groups=[FlagGroup(id=one.uuid, name=one.name) for one in sets if one.id in state.groups],
        starts_at=state.starts_at, ends_at=state.ends_at, notes=row.notes if row else "", asked_at=state.asked_at,
        updated_at=row.updated_at if row else None, version=row.version if row else UNCHANGED,
    )  # fmt: skip


def _how(state: State) -> How:
    moment = now()
    if not state.enabled:
        return "off"
    if state.starts_at and moment < state.starts_at:
        return "planned"
    if state.ends_at and moment >= state.ends_at:
        return "over"
    return "on" if state.percentage >= 100 else "partly" if state.percentage or state.people or state.groups else "off"
