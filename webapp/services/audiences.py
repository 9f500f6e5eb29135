"""Who has access to a file or folder, and why: every person with each way that leads them there."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field

from webapp.db import read_row, read_rows
from webapp.infra.clock import now
from webapp.models.access import (
    live_folder_names,
    live_grants_on,
    live_group_people,
    live_holders_of_vault,
    live_owner,
    live_spot_of_folder,
    live_spots,
)
from webapp.policies import ADMIN, Actor, Level, require
from webapp.services.access import Reach, ids_of, prove, reach, refuse_missing
from webapp.services.cursors import decode_cursor, encode_cursor
from webapp.services.inputs import Input

VAULT = {"vault.read": Level.VIEWER, "vault.write": Level.MANAGER}


class AccessFilter(Input):
    """A page of the people, the highest level first."""

    limit: Annotated[int, Field(ge=1, le=100)] = 100
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class Named(msgspec.Struct, frozen=True):
    """A folder or group by id and name."""

    id: UUID
    name: str


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way to the object: as its owner, by a role, by a grant to the person or to a group of theirs. `inherited` is
    one on a folder above; `folder` names it to who may see it.
    """

    kind: Literal["owner", "role", "grant", "group"]
    level: str
    role: str | None = None
    group: Named | None = None
    inherited: bool = False
    folder: Named | None = None
    expires_at: datetime | None = None


class PersonView(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with access; `level` is the highest of their ways. The e-mail is told to who may share the object."""

    user_id: UUID
    name: str
    email: str | None
    level: str
    ways: list[Way]


class AccessView(msgspec.Struct, frozen=True, kw_only=True):
    """Who has access; `level` is that of the one who asks."""

    level: str
    items: list[PersonView]
    next_cursor: str | None = None


def show_access(actor: Actor, noun: Literal["file", "folder"], thing_id: UUID, query: AccessFilter) -> AccessView:
    """Everybody who may sign in and reaches it, by seven statements at most. Raises Missing, Invalid for a cursor."""
    require(actor, "files.read")
    spot = read_row(live_spots([thing_id]) if noun == "file" else live_spot_of_folder(thing_id))
    if spot is None:
        refuse_missing(noun)
    file_id = spot.id if noun == "file" else None
    found = reach(actor, spot.owner_id, spot.path, file_id)
    prove(found, "files.read", noun)
    people = _people(spot, file_id, found, last=None if noun == "file" else thing_id)
    whole = sorted(people, key=_order)
    if query.cursor:
        mark = tuple(decode_cursor(query.cursor, (int, str, str), of="access"))
        whole = [person for person in whole if _order(person) > mark]
    shown, more = whole[: query.limit], len(whole) > query.limit
    if found.level < Level.MANAGER:
        shown = [msgspec.structs.replace(person, email=None) for person in shown]
    cursor = encode_cursor(["access", *_order(shown[-1])]) if more else None
    return AccessView(level=word(found.level), items=shown, next_cursor=cursor)


def owner_name(owner_id: int) -> str:
    """The name of the person whose it is, for others; none of an account that is gone."""
    row = read_row(live_owner(owner_id))
    return row.user_name if row else ""


def word(level: int) -> str:
    """A level as programs read it."""
    return Level(level).name.lower()


def _order(person: PersonView) -> tuple[int, str, str]:
    return -Level[person.level.upper()], person.name.casefold(), str(person.user_id)


def _people(spot: Any, file_id: int | None, found: Reach, last: UUID | None) -> list[PersonView]:
    persons: dict[int, Any] = {}
    ways: dict[int, list[Way]] = {}

    def add(row: Any, way: Way) -> None:
        persons.setdefault(row.user_id, row)
        ways.setdefault(row.user_id, []).append(way)

    for row in read_rows(live_owner(spot.owner_id)):
        add(row, Way(kind="owner", level=word(Level.OWNER)))
    for holder, way in _by_role(read_rows(live_holders_of_vault(VAULT, ADMIN))):
        add(holder, way)
    grants = read_rows(live_grants_on(ids_of(spot.path), file_id, now()))
    folders = {row.id: row for row in read_rows(live_folder_names(ids_of(spot.path)))} if grants else {}
    seen = _seen(spot.path, found)
    members = _members(grants)
    for grant in grants:
        inherited = grant.folder_id is not None and folders[grant.folder_id].uuid != last
        folder: Any = folders.get(grant.folder_id)
        at = {
            "level": word(grant.level), "inherited": inherited, "expires_at": grant.expires_at,
            "folder": Named(folder.uuid, folder.name) if inherited and folder.id in seen else None,
        }  # fmt: skip
        if grant.group_id is None:
            add(grant, Way(kind="grant", **at))
        for member in members.get(grant.group_id, ()):
            add(member, Way(kind="group", group=Named(grant.group_uuid, grant.group_name), **at))
    return [_person(persons[number], ways[number]) for number in persons]


def _person(row: Any, ways: list[Way]) -> PersonView:
    highest = max(Level[way.level.upper()] for way in ways)
    return PersonView(user_id=row.user_uuid, name=row.user_name, email=row.email, level=word(highest), ways=ways)


def _by_role(rows: Sequence[Any]) -> Iterable[tuple[Any, Way]]:
    """The highest that each role of a person gives, once."""
    best: dict[tuple[int, str], tuple[Any, Level]] = {}
    for row in rows:
        level = Level.MANAGER if row.role == ADMIN else VAULT[row.permission]
        key = (row.user_id, row.role)
        if key not in best or best[key][1] < level:
            best[key] = (row, level)
    return [(row, Way(kind="role", role=row.role, level=word(level))) for row, level in best.values()]


def _members(grants: Sequence[Any]) -> dict[int | None, list[Any]]:
    groups = {grant.group_id for grant in grants if grant.group_id is not None}
    found: dict[int | None, list[Any]] = {}
    for row in read_rows(live_group_people(groups)) if groups else ():
        found.setdefault(row.group_id, []).append(row)
    return found


def _seen(path: str | None, found: Reach) -> set[int]:
    """The folders of the path that the one who asks may see."""
    above = ids_of(path)
    if found.whole:
        return set(above)
    return set(above[above.index(found.top) :]) if found.top is not None else set()
