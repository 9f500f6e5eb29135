"""What lies in the trash by itself, last trashed first: files and folders, each with where it was."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import Select, bindparam, func, literal, select, tuple_, union_all
from sqlalchemy import null as nothing
from sqlalchemy.orm import aliased

from webapp.db import read_row, read_rows
from webapp.errors import Missing
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.record import any_state
from webapp.models.trash import any_names, deleted_weights
from webapp.policies import Actor, Level, require
from webapp.services.access import ids_of, reach
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.files import FILE_COLUMNS, FileView, view_row
from webapp.services.inputs import Input


class TrashQuery(Input):
    """A page of the trash."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class TrashView(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder in the trash, with the fields of both. `where` are the names of the folders it lay in, from the
    top; `folder_id` is the last of them while it lives. A folder's `size` and `files` count what went with it.
    """

    kind: Literal["file", "folder"]
    id: UUID
    name: str
    folder_id: UUID | None
    where: list[str]
    files: int
    size: int
    mime: str | None
    sha256: str | None
    number: int | None
    description: str | None
    tags: list[str]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime
    version: int


def _deleted_files(after: bool) -> Select[Any]:
    chosen = (
        any_state(File, *FILE_COLUMNS, File.deleted_at.label("gone"), File.id.label("row_id"))
        .outerjoin(Folder, (Folder.id == File.folder_id) & Folder.deleted_at.is_(None))
        .where(File.owner_id == bindparam("owner_id"), File.deleted_at.is_not(None))
        .order_by(File.deleted_at.desc(), File.id.desc())
        .limit(bindparam("rows"))
    )
    return _after(chosen, File) if after else chosen


def _deleted_entries(after: bool) -> Select[Any]:
    """The keys of files and folders in one order."""
    files = any_state(File, literal(0).label("folder"), File.id.label("row_id"), File.deleted_at.label("gone"))
    folders = any_state(Folder, literal(1).label("folder"), Folder.id.label("row_id"), Folder.deleted_at.label("gone"))
    parts = []
    for kind, model in ((files, File), (folders, Folder)):
        part = kind.where(model.owner_id == bindparam("owner_id"), model.deleted_at.is_not(None),
                            model.trashed_with.is_(None))  # fmt: skip
        part = _after(part, model) if after else part
        part = part.order_by(model.deleted_at.desc(), model.id.desc()).limit(bindparam("rows"))
        each = part.subquery()
        parts.append(select(each.c.folder, each.c.row_id, each.c.gone))
    each = union_all(*parts).subquery()
    chosen: Select[Any] = select(each.c.folder, each.c.row_id, each.c.gone)
    return chosen.order_by(each.c.gone.desc(), each.c.row_id.desc()).limit(bindparam("rows"))


def _after(chosen: Select[Any], model: type[File | Folder]) -> Select[Any]:
    mark = tuple_(bindparam("moment", type_=model.deleted_at.type), bindparam("row_id"))
    return chosen.where(tuple_(model.deleted_at, model.id) < mark)


_ENTRIES = {after: _deleted_entries(after) for after in (False, True)}
_FILES = {after: _deleted_files(after) for after in (False, True)}


def list_trash(actor: Actor, limit: int = 25, cursor: str | None = None) -> Page[TrashView]:
    """What the actor trashed, last trashed first: not what went along with a folder. Five statements at most."""
    require(actor, "files.read")
    parameters = _parameters(actor, limit, cursor)
    rows = read_rows(_ENTRIES[bool(cursor)], parameters)
    views = _views([row.row_id for row in rows if not row.folder], [row.row_id for row in rows if row.folder])
    there = [row for row in rows if row.row_id in views]  # the others were restored meanwhile
    return page_of(there, limit, lambda row: views[row.row_id], lambda row: (row.gone, row.row_id), of="trash")


def list_trashed_files(actor: Actor, limit: int = 25, cursor: str | None = None) -> Page[FileView]:
    """All files of the actor in the trash, also those that went there with a folder, last trashed first."""
    require(actor, "files.read")
    rows = read_rows(_FILES[bool(cursor)], _parameters(actor, limit, cursor))
    return page_of(rows, limit, view_row, lambda row: (row.gone, row.row_id), of="trash")


def show_trashed(actor: Actor, thing_id: UUID, kind: str, least: Level = Level.OWNER) -> TrashView:
    """One file or folder in the trash, for its owner, or for who has at least this level on it. Raises Missing."""
    require(actor, "files.read")
    row = read_row(_deleted_spot(kind, thing_id))
    number = row.id if row is not None and kind == "file" else None
    if row is None or reach(actor, row.owner_id, row.path, number).level < least:
        raise Missing(f"There is no such {kind} in the trash.")
    views = _views([row.id] if kind == "file" else [], [row.id] if kind == "folder" else [])
    if row.id not in views:
        raise Missing(f"There is no such {kind} in the trash.")
    return views[row.id]


def _deleted_spot(kind: str, thing_id: UUID) -> Select[Any]:
    if kind == "folder":
        chosen = any_state(Folder, Folder.id, Folder.owner_id, Folder.path)
        return chosen.where(Folder.uuid == thing_id, Folder.deleted_at.is_not(None), Folder.trashed_with.is_(None))
    chosen = any_state(File, File.id, File.owner_id, Folder.path).outerjoin(Folder, Folder.id == File.folder_id)
    return chosen.where(File.uuid == thing_id, File.deleted_at.is_not(None))


def count_trash(actor: Actor) -> tuple[int, int]:
    """How many files and folders lie in the actor's trash by themselves, and the bytes of all files in it."""
    require(actor, "files.read")
    row = read_row(_any_counts(), {"owner_id": actor.id})
    return (int(row.files) + int(row.folders), int(row.bytes)) if row else (0, 0)


def _any_counts() -> Select[Any]:
    alone = (Folder.deleted_at.is_not(None), Folder.trashed_with.is_(None))
    folders = any_state(Folder, func.count()).where(Folder.owner_id == bindparam("owner_id"), *alone)
    files = func.count().filter(File.trashed_with.is_(None))
    size = func.coalesce(func.sum(File.size), 0)
    chosen = any_state(File, files.label("files"), size.label("bytes"), folders.scalar_subquery().label("folders"))
    return chosen.where(File.owner_id == bindparam("owner_id"), File.deleted_at.is_not(None))


def _parameters(actor: Actor, limit: int, cursor: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"owner_id": actor.id, "rows": limit + 1}
    if cursor:
        found["moment"], found["row_id"] = decode_cursor(cursor, (datetime, int), of="trash")
    return found


def _views(files: Sequence[int], folders: Sequence[int]) -> dict[int, TrashView]:
    rows = [*(read_rows(_deleted_file_rows(files)) if files else []),
            *(read_rows(_deleted_folder_rows(folders)) if folders else [])]  # fmt: skip
    weights = {row.folder: row for row in read_rows(deleted_weights(folders))} if folders else {}
    above = {number for row in rows for number in ids_of(row.path)}
    names = {row.id: row.name for row in read_rows(any_names(above))} if above else {}
    return {row.row_id: _view(row, weights.get(row.row_id), names) for row in rows}


def _view(row: Any, weight: Any, names: dict[int, str]) -> TrashView:
    is_file = row.mime is not None
    return TrashView(
        kind="file" if is_file else "folder", id=row.uuid, name=row.name, folder_id=row.around,
        where=[names[number] for number in ids_of(row.path) if number in names and number != row.row_id],
        files=1 if is_file else weight.files if weight else 0,
        size=row.size if is_file else int(weight.bytes) if weight else 0,
        mime=row.mime, sha256=row.sha256, number=row.number, description=row.description, tags=list(row.tags or ()),
        created_at=row.created_at, updated_at=row.updated_at, deleted_at=row.deleted_at, version=row.version,
    )  # fmt: skip


def _deleted_file_rows(numbers: Sequence[int]) -> Select[Any]:
    alive = aliased(Folder)
    columns = (File.id.label("row_id"), File.uuid, File.name, File.mime, File.size, File.sha256, File.number,
               File.description, File.tags, File.created_at, File.updated_at, File.deleted_at, File.version,
               Folder.path, alive.uuid.label("around"))  # fmt: skip
    chosen = any_state(File, *columns).outerjoin(Folder, Folder.id == File.folder_id)
    chosen = chosen.outerjoin(alive, (alive.id == File.folder_id) & alive.deleted_at.is_(None))
    return chosen.where(File.id.in_(numbers), File.deleted_at.is_not(None))


def _deleted_folder_rows(numbers: Sequence[int]) -> Select[Any]:
    alive = aliased(Folder)
    without = [nothing().label(name) for name in ("mime", "size", "sha256", "number", "description", "tags")]
    columns = (Folder.id.label("row_id"), Folder.uuid, Folder.name, *without, Folder.created_at, Folder.updated_at,
               Folder.deleted_at, Folder.version, Folder.path, alive.uuid.label("around"))  # fmt: skip
    chosen = any_state(Folder, *columns)
    chosen = chosen.outerjoin(alive, (alive.id == Folder.parent_id) & alive.deleted_at.is_(None))
    return chosen.where(Folder.id.in_(numbers), Folder.deleted_at.is_not(None))
