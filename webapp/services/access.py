"""Who reaches what: the one rule. Effective access is the highest of owner, role, direct, group and inherited grants.

Nothing takes away what another way gives. Objects are found through the actor: what they do not reach is not there.
"""

from collections.abc import Collection, Sequence
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from sqlalchemy import Executable

from webapp.db import db, read_rows
from webapp.errors import Missing, Refused
from webapp.infra.clock import now
from webapp.models.access import any_owner_of, live_levels, live_spots, mine
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.policies import NEEDED, Actor, Level, level_by_role


class Reach(msgspec.Struct, frozen=True):
    """What an actor may do with one object. `top` is the uppermost folder on its path that they see through a grant;
    `whole` says that they see all of the owner's tree."""

    level: Level
    whole: bool = False
    top: int | None = None


NOTHING, OWNING = Reach(Level.NONE), Reach(Level.OWNER, whole=True)


def outside(actor: Actor, path: str | None) -> bool:
    """Whether a limit of the actor's token to one folder keeps this path from them: the one place that asks."""
    return actor.root is not None and f"/{actor.root}/" not in (path or "")


def reach(actor: Actor, owner_id: int, path: str | None, file_id: int | None = None) -> Reach:
    """How an actor reaches a folder with this path, or a file in it. One statement at most, none for the owner."""
    if outside(actor, path):
        return NOTHING
    if owner_id == actor.id:
        return OWNING
    role = level_by_role(actor)
    if role >= Level.MANAGER:
        return Reach(role, whole=True)
    above = ids_of(path)
    found = _granted(actor, above, () if file_id is None else (file_id,))
    level = max([role, *found.values()], default=role)
    tops = [number for number in above if ("folder", number) in found]
    return Reach(level, whole=role > Level.NONE, top=tops[0] if tops else None) if level else NOTHING


def levels_of(actor: Actor, file_ids: Collection[UUID]) -> dict[UUID, Level]:
    """The level on each of these files that the actor reaches, by two statements however many there are."""
    spots = read_rows(live_spots(file_ids)) if file_ids else []
    return {row.uuid: level for row, level in zip(spots, levels_at(actor, spots), strict=True) if level}


def levels_at(actor: Actor, spots: Sequence[Any]) -> list[Level]:
    """The same for rows that name id, owner_id and path of files; one statement. `id` None is a folder itself."""
    folders = {number for spot in spots for number in ids_of(spot.path) if spot.owner_id != actor.id}
    files = {spot.id for spot in spots if spot.id is not None and spot.owner_id != actor.id}
    found, role = _granted(actor, folders, files), level_by_role(actor)
    return [_level(actor, role, found, spot) for spot in spots]


def _level(actor: Actor, role: Level, found: dict[tuple[str, int], Level], spot: Any) -> Level:
    if outside(actor, spot.path):
        return Level.NONE
    if spot.owner_id == actor.id:
        return Level.OWNER
    keys = [("folder", number) for number in ids_of(spot.path)] + [("file", spot.id)]
    return max(role, *(found.get(key, Level.NONE) for key in keys))


def prove(found: Reach, permission: str, noun: str) -> None:
    """Raise Missing for what the actor does not reach at all, Refused where that permission needs a higher level."""
    if found.level == Level.NONE:
        refuse_missing(noun)
    if found.level < NEEDED[permission]:
        raise Refused("You may look at this, but not change it." if permission == "files.write" else
                      "Only its owner and managers share this.", code="level")  # fmt: skip


def refuse_missing(noun: str) -> NoReturn:
    """What a stranger hears, and who asks for what is not there."""
    raise Missing(f"There is no such {noun}.")


def owner_of(model: type[File | Folder], uuid: UUID | None, actor: Actor) -> int:
    """Whose tree a change of this object must lock; the actor's own for none and for what is not there."""
    rows = [] if uuid is None else rows_of(any_owner_of(model, uuid))
    return int(rows[0][0]) if rows else actor.id


def ids_of(path: str | None) -> list[int]:
    """The folders of a path, from the top."""
    return [int(part) for part in (path or "").split("/") if part]


def rows_of(statement: Executable) -> Sequence[Any]:
    """Rows as the present transaction has them; without one, as a hot read."""
    if db.session().info.get("writing"):
        return db.session.execute(statement).all()
    return read_rows(statement)


def _granted(actor: Actor, folders: Collection[int], files: Collection[int]) -> dict[tuple[str, int], Level]:
    """The highest level that grants give the actor on each of these objects itself."""
    if not folders and not files:
        return {}
    found: dict[tuple[str, int], Level] = {}
    for row in rows_of(live_levels(mine(actor.id, actor.groups, now()), folders, files)):
        key = ("file", row.file_id) if row.folder_id is None else ("folder", row.folder_id)
        found[key] = max(found.get(key, Level.NONE), Level(row.level))
    return found
