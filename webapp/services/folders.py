"""Folders: found through the actor, made, renamed, moved; a folder is never inside itself, nor changes its owner."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import ConfigDict, Field
from sqlalchemy import func, literal, tuple_

from webapp.db import db, read_row, read_rows, transactional
from webapp.errors import Conflict, Invalid, Missing, Refused, Stale
from webapp.infra.ids import next_id
from webapp.infra.locks import Held, locked
from webapp.models.access import live_folder_at
from webapp.models.files import File, file_place
from webapp.models.folders import MAX_DEPTH, Folder, folder_place, live_folders_of, live_folders_on
from webapp.models.record import live
from webapp.models.trash import below, graft
from webapp.policies import Actor, Level, require
from webapp.services.access import owner_of, prove, reach, refuse_missing
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.events import Target, record
from webapp.services.inputs import Input, Line
from webapp.services.names import check_name, name_key, sort_key
from webapp.services.placements import place
from webapp.services.quotas import lock_tree
from webapp.services.subtrees import refuse_top

NAME = Annotated[str, Field(max_length=255, description="Display name; at most 255 bytes of UTF-8, no / or \\")]


class NewFolder(Input):
    """A folder to make; without `parent_id` at the top."""

    model_config = ConfigDict(str_strip_whitespace=False)
    name: NAME
    parent_id: UUID | None = None


class FolderChange(Input):
    """A new name, a new parent (null: the top), or both; what is absent stays."""

    model_config = ConfigDict(str_strip_whitespace=False)
    name: NAME | None = None
    parent_id: UUID | None = None


class Rename(Input):
    """A new name, of a folder or a file."""

    model_config = ConfigDict(str_strip_whitespace=False)
    name: NAME


class FolderMove(Input):
    """Another parent; none is the top."""

    parent_id: UUID | None = None


class MoveQuery(Input):
    """The folder a person looks into while choosing where to move something; `top` the top, none where it is."""

    inside: Annotated[UUID | Literal["top"] | None, Field(alias="in")] = None


class FolderFilter(Input):
    """Folders inside `parent_id` (the top level when absent), by name."""

    parent_id: UUID | None = None
    q: Annotated[Annotated[str, Line(200)] | None, Field(description="part of the name")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class FolderView(msgspec.Struct, frozen=True, kw_only=True):
    """A folder as clients see it."""

    id: UUID
    name: str
    parent_id: UUID | None
    created_at: Any
    updated_at: Any
    version: int


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """The way to a folder, and what the actor may do there."""

    crumbs: list["Crumb"]
    level: Level


class Crumb(msgspec.Struct, frozen=True):
    """One step of the way from the top."""

    id: UUID
    name: str


def find_folder(actor: Actor, folder_id: UUID, permission: str = "files.read") -> Folder:
    """The living folder, found through the actor. Raises Missing for what is not there or not theirs to see, Refused
    for what they may only look at.
    """
    require(actor, permission)
    folder = db.session.scalar(live_folder_at(folder_id))
    if folder is None:
        refuse_missing("folder")
    prove(reach(actor, folder.owner_id, folder.path), permission, "folder")
    return folder


def find_parent(actor: Actor, folder_id: UUID | None, field: str) -> Folder | None:
    """The folder that something is to be put into; None is the top. An unknown one is a fault of that input field."""
    if folder_id is None:
        refuse_top(actor)
        return None
    try:
        return find_folder(actor, folder_id, "files.write")
    except Missing as error:
        raise Invalid.field(field, "unknown_folder", "There is no such folder.") from error


def show_folder(actor: Actor, folder_id: UUID) -> FolderView:
    """One folder."""
    return view_of(find_folder(actor, folder_id))


def trail_to(actor: Actor, folder_id: UUID) -> Trail:
    """The way to the folder, itself included, from the top or from the uppermost folder that the actor sees."""
    row = read_row(live(Folder, Folder.path, Folder.owner_id).where(Folder.uuid == folder_id))
    if row is None:
        refuse_missing("folder")
    found = reach(actor, row.owner_id, row.path)
    prove(found, "files.read", "folder")
    seen = row.path if found.whole or found.top is None else row.path[row.path.index(f"/{found.top}/") :]
    crumbs = [Crumb(folder.uuid, folder.name) for folder in db.session.scalars(live_folders_on(seen))]
    return Trail(crumbs=crumbs, level=found.level)


def list_crumbs(actor: Actor, folder_id: UUID) -> list[Crumb]:
    """The crumbs of that alone."""
    return trail_to(actor, folder_id).crumbs


def list_all_folders(actor: Actor, most: int = 500) -> list[tuple[str, str]]:
    """(id, "Harbour / Quay") of the actor's own folders, in order of these words; of very many only some."""
    require(actor, "files.read")
    refuse_top(actor)
    paths: dict[int, str] = {}
    found = []
    for row in read_rows(live_folders_of(actor.id).limit(most)):
        above = paths.get(row.parent_id)
        paths[row.id] = row.name if above is None else f"{above} / {row.name}"
        found.append((str(row.uuid), paths[row.id]))
    return sorted(found, key=lambda each: sort_key(each[1]))


def list_folders(actor: Actor, query: FolderFilter) -> Page[FolderView]:
    """The folders inside one folder, ordered by name."""
    require(actor, "files.read")
    parent = _listed(actor, query.parent_id)
    select = live(
        Folder,
        Folder.uuid,
        Folder.name,
        Folder.created_at,
        Folder.updated_at,
        Folder.version,
        Folder.sort_key,
        Folder.id,
    ).where(Folder.owner_id == (parent.owner_id if parent else actor.id), _inside(parent))
    if query.q:
        select = select.where(Folder.name_key.icontains(name_key(query.q), autoescape=True))
    if query.cursor:
        name, number = decode_cursor(query.cursor, (str, int), of="folders")
        select = select.where(tuple_(Folder.sort_key, Folder.id) > tuple_(literal(name), literal(number)))
    rows = read_rows(select.order_by(Folder.sort_key, Folder.id).limit(query.limit + 1))
    parent_id = parent.uuid if parent else None
    return page_of(
        rows, query.limit, lambda row: _row_view(row, parent_id), lambda row: (row.sort_key, row.id), of="folders"
    )


@transactional
def create_folder(actor: Actor, wish: NewFolder) -> FolderView:
    """Make a folder. Raises Conflict for a taken name, Invalid for an unknown parent or more than 64 levels."""
    require(actor, "files.write")
    owner_id = owner_of(Folder, wish.parent_id, actor)
    lock_tree(owner_id)
    parent = find_parent(actor, wish.parent_id, "parent_id")
    name = check_name(wish.name)
    refuse_taken(owner_id, parent.id if parent else None, name)
    number = next_id()
    folder = Folder(
        id=number,
        owner_id=owner_id,
        parent_id=parent.id if parent else None,
        path=path_under(parent, number),
        name=name,
        name_key=name_key(name),
        sort_key=sort_key(name),
    )
    check_depth(folder.path)
    db.session.add(folder)
    db.session.flush()
    place(folder)
    record(actor, "folder.created", target_of(folder), {"name": (None, name)})
    return view_of(folder)


def change_folder(actor: Actor, folder_id: UUID, wish: FolderChange, expected: int | None = None) -> FolderView:
    """Rename, move, or both. A move takes the whole subtree along in one statement, and no other move beside it.

    Raises Stale when the version is not `expected`, Conflict for a taken name or a move into itself, Locked.
    """
    require(actor, "files.write")
    if "parent_id" not in wish.model_fields_set:
        return _change_folder(actor, folder_id, wish, expected, None)
    with locked(f"tree:{owner_of(Folder, folder_id, actor)}") as held:
        return _change_folder(actor, folder_id, wish, expected, held)


@transactional
def _change_folder(
    actor: Actor, folder_id: UUID, wish: FolderChange, expected: int | None, held: Held | None
) -> FolderView:
    if held is not None:
        held.guard()
    lock_tree(owner_of(Folder, folder_id, actor))
    folder = find_folder(actor, folder_id, "files.write")
    check_version(folder.version, expected)
    before = {"name": folder.name, "parent": str(parent_uuid(folder))}
    if "parent_id" in wish.model_fields_set:
        _move(actor, folder, find_parent(actor, wish.parent_id, "parent_id"))
    if wish.name is not None:
        folder.name = check_name(wish.name)
        folder.name_key, folder.sort_key = name_key(folder.name), sort_key(folder.name)
    if not db.session.is_modified(folder):
        return view_of(folder)
    refuse_taken(folder.owner_id, folder.parent_id, folder.name, but=folder.id)
    db.session.flush()
    place(folder)
    after = {"name": folder.name, "parent": str(parent_uuid(folder))}
    changes = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    record(actor, "folder.moved" if "parent" in changes else "folder.renamed", target_of(folder), changes)
    return view_of(folder)


def check_goal(actor: Actor, owner_id: int, parent: Folder | None) -> None:
    """Raise Conflict for a move out of the owner's tree, Refused for one to its top by who sees only shared folders."""
    if parent is not None and parent.owner_id != owner_id:
        raise Conflict("This belongs to somebody else. Download it and upload it there.", code="other_owner")
    if parent is None and owner_id != actor.id and not actor.can("vault.write"):
        raise Refused("Only the owner puts things at the top of their files.", code="level")


def _move(actor: Actor, folder: Folder, parent: Folder | None) -> None:
    if folder.parent_id != (parent.id if parent else None):
        check_goal(actor, folder.owner_id, parent)
    if parent is not None and parent.path.startswith(folder.path):
        raise Conflict("A folder cannot be moved into itself or into a folder inside it.", code="cycle")
    if folder.parent_id == (parent.id if parent else None):
        return
    old, new = folder.path, path_under(parent, folder.id)
    slashes = func.length(Folder.path) - func.length(func.replace(Folder.path, "/", ""))
    deepest = db.session.scalar(live(Folder, func.max(slashes)).where(below(old))) or 0
    check_depth(new + "/" * max(0, deepest - old.count("/")))
    db.session.execute(graft(old, new), execution_options={"synchronize_session": False})
    folder.path, folder.parent_id = new, parent.id if parent else None


def check_depth(path: str) -> None:
    """Raise Invalid for a path of more levels than folders nest."""
    if path.count("/") - 1 > MAX_DEPTH:
        raise Invalid.field("parent_id", "too_deep", f"Folders nest at most {MAX_DEPTH} levels.")


def path_under(parent: Folder | None, folder_id: int) -> str:
    """The path of a folder inside this one, or at the top."""
    return f"{parent.path if parent else '/'}{folder_id}/"


def _listed(actor: Actor, folder_id: UUID | None) -> Folder | None:
    if folder_id is None:
        refuse_top(actor)
        return None
    return find_folder(actor, folder_id)


def _inside(parent: Folder | None) -> Any:
    return folder_place == (parent.id if parent else 0)


def refuse_taken(owner_id: int, parent_id: int | None, name: str, *, but: int | None = None) -> None:
    """Raise Conflict when a living sibling, file or folder, has the name. Call it under the owner's tree lock."""
    if name_key(name) in taken_keys(owner_id, parent_id, name_key(name), but=but):
        raise Conflict(f"There is already something called “{name}” here.", code="name_taken")


def taken_keys(
    owner_id: int, parent_id: int | None, prefix: str, *, but: int | None = None, exact: bool = True
) -> set[str]:
    """Keys of the living siblings' names: the one equal to `prefix`, or all that start with it.

    Looks before what the caller has changed is written: that would meet the unique index, with a poorer message.
    """
    found: set[str] = set()
    with db.session.no_autoflush:
        for model, place_of in ((Folder, folder_place), (File, file_place)):
            here = (model.owner_id == owner_id) & (place_of == (parent_id or 0)) & (model.id != (but or 0))
            alike = model.name_key == prefix if exact else model.name_key.startswith(prefix, autoescape=True)
            found.update(db.session.scalars(live(model, model.name_key).where(here, alike)))
    return found


def check_version(present: int, expected: int | None) -> None:
    """Raise Stale when the caller saw another version than the present one."""
    if expected is not None and expected != present:
        raise Stale("Somebody changed this in the meantime. Load it again and repeat your change.")


def parent_uuid(folder: Folder) -> UUID | None:
    """Public id of the folder's parent."""
    if folder.parent_id is None:
        return None
    found: UUID | None = db.session.scalar(live(Folder, Folder.uuid).where(Folder.id == folder.parent_id))
    return found


def view_of(folder: Folder) -> FolderView:
    """The struct that answers encode."""
    return _row_view(folder, parent_uuid(folder))


def _row_view(row: Any, parent_id: UUID | None) -> FolderView:
    return FolderView(
        id=row.uuid,
        name=row.name,
        parent_id=parent_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )


def target_of(folder: Folder) -> Target:
    """The folder as the object of an event."""
    return Target("folder", folder.uuid, folder.name, folder.owner_id, {"folder_id": folder.id})
