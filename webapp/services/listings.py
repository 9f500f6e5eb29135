"""Lists of files, and of folders and files together, paged by key: page 10,000 costs what page 1 does."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import Select, String, Text, bindparam, cast, exists, func, literal, select, tuple_, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from webapp.db import db, read_row, read_rows
from webapp.errors import Invalid
from webapp.models.files import Blob, File, Preview, file_place
from webapp.models.folders import Folder, folder_place
from webapp.models.jobs import Job
from webapp.models.record import live
from webapp.models.users import User
from webapp.policies import Actor, require
from webapp.services.access import prove, reach, refuse_missing
from webapp.services.caches import FOLDERS, cached
from webapp.services.cursors import Page, decode_cursor, encode_cursor, page_of
from webapp.services.files import FILE_COLUMNS, FileView, view_row
from webapp.services.inputs import Input, Line
from webapp.services.names import name_key
from webapp.services.subtrees import refuse_top
from webapp.services.trashed import list_trashed_files

SMALL = 64  # pixels: the preview in a row
Sort = Literal["name", "-name", "updated_at", "-updated_at", "size", "-size"]
MEDIA_TYPE = r"^[a-z0-9.+-]{1,60}(/[a-z0-9.+-]{1,60})?$"
SORTS: dict[str, tuple[Any, type]] = {
    "name": (File.sort_key, str),
    "updated_at": (File.updated_at, datetime),
    "size": (File.size, int),
}


class FileFilter(Input):
    """Which files to list. `folder_id` is a folder, `root` (the top level) or absent (everywhere)."""

    folder_id: UUID | Literal["root"] | None = None
    trashed: bool = False
    type: Annotated[str | None, Field(pattern=MEDIA_TYPE, description="image or image/png")] = None
    tag: Annotated[str, Line(50)] | None = None
    q: Annotated[Annotated[str, Line(200)] | None, Field(description="part of the name")] = None
    sort: Sort = "name"
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class BrowseQuery(Input):
    """How a person looks at a folder."""

    sort: Sort = "name"
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A folder or a file as a line of the files page."""

    kind: Literal["folder", "file"]
    id: UUID
    name: str
    mime: str | None = None
    size: int | None = None
    number: int = 1
    updated_at: datetime
    version: int
    owner: str
    owner_id: int
    thumbnail: bool = False
    busy: bool = False
    damaged: bool = False
    scanned: bool = True
    infected: bool = False


def list_files(actor: Actor, query: FileFilter) -> Page[FileView]:
    """The actor's files that match, in one statement. Raises Missing for an unknown folder, Invalid for a cursor."""
    require(actor, "files.read")
    if query.trashed:
        refuse_top(actor)
        if query.folder_id or query.type or query.tag or query.q or query.sort != "name":
            raise Invalid.field("trashed", "combination", "The trash is one list: it takes no other filter.")
        return list_trashed_files(actor, query.limit, query.cursor)
    name = query.sort.removeprefix("-")
    shape = (query.sort, bool(query.cursor), query.folder_id is not None, _type_shape(query.type), bool(query.tag),
             bool(query.q))  # fmt: skip
    parameters: dict[str, Any] = {"owner_id": actor.id, "rows": query.limit + 1}
    if query.cursor:
        parameters["key"], parameters["row_id"] = decode_cursor(query.cursor, (SORTS[name][1], int), of=query.sort)
    if query.folder_id is None:
        refuse_top(actor)
    else:
        inside = None if query.folder_id == "root" else query.folder_id
        parameters["place"], parameters["owner_id"] = place_of(actor, inside)
    if query.type:
        parameters["mime"] = query.type if "/" in query.type else query.type + "/"
    if query.tag:
        parameters["tag"] = query.tag if db.engine.dialect.name == "sqlite" else [query.tag]
    if query.q:
        parameters["q"] = "%" + re.sub(r"([\\%_])", r"\\\1", name_key(query.q)) + "%"
    rows = read_rows(_listing(db.engine.dialect.name, *shape), parameters)
    return page_of(rows, query.limit, view_row, lambda row: (row.key, row.row_id), of=query.sort)


def place_of(actor: Actor, folder_id: UUID | None) -> tuple[int, int]:
    """Internal ids of a folder that the actor sees, and of its owner. The own are cached: nobody takes them away."""
    if folder_id is None:
        refuse_top(actor)
        return 0, actor.id
    number = cached(FOLDERS, actor.id, str(folder_id), lambda: _read_number(actor.id, folder_id))
    if number is not None and actor.root is None:
        return number, actor.id
    row = read_row(_SPOT, {"folder_id": folder_id})
    if row is None:
        refuse_missing("folder")
    prove(reach(actor, row.owner_id, row.path), "files.read", "folder")
    return row.id, row.owner_id


def _read_number(owner_id: int, folder_id: UUID) -> int | None:
    row = read_row(_FOLDER, {"owner_id": owner_id, "folder_id": folder_id})
    return None if row is None else int(row.id)


_SPOT = live(Folder, Folder.id, Folder.owner_id, Folder.path).where(Folder.uuid == bindparam("folder_id"))
_FOLDER = live(Folder, Folder.id).where(Folder.owner_id == bindparam("owner_id"), Folder.uuid == bindparam("folder_id"))


def _type_shape(value: str | None) -> str:
    return "" if not value else "whole" if "/" in value else "family"


@lru_cache(maxsize=256)
def _listing(dialect: str, sort: str, after: bool, inside: bool, mime: str, tag: bool, q: bool) -> Select[Any]:
    """The statement of one shape of question, built once."""
    column, _ = SORTS[sort.removeprefix("-")]
    chosen = live(File, *FILE_COLUMNS, column.label("key"), File.id.label("row_id"))
    chosen = chosen.outerjoin(Folder, Folder.id == File.folder_id).where(File.owner_id == bindparam("owner_id"))
    if inside:
        chosen = chosen.where(file_place == bindparam("place"))
    if mime:
        part = bindparam("mime", type_=String())
        chosen = chosen.where(File.mime == part if mime == "whole" else File.mime.startswith(part))
    if tag:
        chosen = chosen.where(has_tag(dialect))
    if q:
        chosen = chosen.where(File.name_key.ilike(bindparam("q", type_=String()), escape="\\"))
    return _paged(chosen, column, File.id, down=sort.startswith("-"), after=after)


def has_tag(dialect: str, tag: str | None = None) -> Any:
    """Whether a file has this tag, or the one bound as `tag`."""
    if dialect == "postgresql":
        wanted = bindparam("tag", type_=JSONB()) if tag is None else literal([tag], JSONB())
        return cast(File.tags, JSONB).contains(wanted)
    each = func.json_each(type_coerce(File.tags, Text())).table_valued("value")
    word = bindparam("tag", type_=String()) if tag is None else literal(tag, String())
    return exists(select(each.c.value).where(each.c.value == word))


def browse(actor: Actor, folder_id: UUID | None, sort: Sort, limit: int = 50, cursor: str | None = None) -> Page[Row]:
    """One page of a folder for people: folders first by name, then files by `sort`. At most three statements."""
    require(actor, "files.read")
    place, owner_id = place_of(actor, folder_id)
    part, mark = _read_mark(cursor, sort)
    parameters: dict[str, Any] = {"owner_id": owner_id, "place": place}
    rows: list[tuple[Row, Any]] = []
    if part == "folder":
        found = read_rows(_folders(bool(mark)), {**parameters, **mark, "rows": limit + 1})
        rows = [(_folder_row(row), row) for row in found]
        mark = {}
    if len(rows) <= limit:
        found = read_rows(_files(sort, bool(mark)), {**parameters, **mark, "rows": limit + 1 - len(rows)})
        rows += [(_file_row(row), row) for row in found]
    more, rows = len(rows) > limit, rows[:limit]
    last = [sort, rows[-1][0].kind, rows[-1][1].key, rows[-1][1].row_id] if more else None
    return Page(items=[row for row, _ in rows], next_cursor=encode_cursor(last) if last else None)


def _read_mark(cursor: str | None, sort: str) -> tuple[str, dict[str, Any]]:
    if not cursor:
        return "folder", {}
    part = decode_cursor(cursor, (str, Any, int), of=sort)[0]
    kind = str if part == "folder" else SORTS[sort.removeprefix("-")][1]
    _, key, row_id = decode_cursor(cursor, (str, kind, int), of=sort)
    return part, {"key": key, "row_id": row_id}


def _folder_row(row: Any) -> Row:
    return Row(kind="folder", id=row.uuid, name=row.name, updated_at=row.updated_at, version=row.version,
               owner=row.owner, owner_id=row.owner_id)  # fmt: skip


def _file_row(row: Any) -> Row:
    return Row(kind="file", id=row.uuid, name=row.name, updated_at=row.updated_at, version=row.version, owner=row.owner,
               owner_id=row.owner_id, mime=row.mime, size=row.size, number=row.number, thumbnail=row.thumbnail,
               busy=row.busy, damaged=row.damaged_at is not None, scanned=row.scanned_at is not None,
               infected=row.infected_with is not None)  # fmt: skip


@lru_cache(maxsize=4)
def _folders(after: bool) -> Select[Any]:
    chosen = live(Folder, Folder.uuid, Folder.owner_id, Folder.name, Folder.updated_at, Folder.version,
                  Folder.sort_key.label("key"), Folder.id.label("row_id"), User.name.label("owner"))  # fmt: skip
    chosen = chosen.join(User, User.id == Folder.owner_id)
    chosen = chosen.where(Folder.owner_id == bindparam("owner_id"), folder_place == bindparam("place"))
    return _paged(chosen, Folder.sort_key, Folder.id, down=False, after=after)


@lru_cache(maxsize=16)
def _files(sort: str, after: bool) -> Select[Any]:
    column, _ = SORTS[sort.removeprefix("-")]
    small = exists().where(Preview.blob_id == Blob.id, Preview.size == SMALL)
    busy = exists().where(Job.target_uuid == File.uuid, Job.state.in_(("queued", "running")))
    chosen = live(File, File.uuid, File.owner_id, File.name, File.mime, File.size, File.number, File.updated_at,
                  File.version, column.label("key"), File.id.label("row_id"), User.name.label("owner"),
                  Blob.damaged_at, Blob.scanned_at, Blob.infected_with, small.label("thumbnail"),
                  busy.label("busy"))  # fmt: skip
    chosen = chosen.join(User, User.id == File.owner_id).join(Blob, Blob.sha256 == File.sha256)
    chosen = chosen.where(File.owner_id == bindparam("owner_id"), file_place == bindparam("place"))
    return _paged(chosen, column, File.id, down=sort.startswith("-"), after=after)


def _paged(chosen: Select[Any], column: Any, row_id: Any, *, down: bool, after: bool) -> Select[Any]:
    """Ordered by (column, id), after the mark by row comparison: the form that an index serves at any depth."""
    if after:
        row, mark = tuple_(column, row_id), tuple_(bindparam("key", type_=column.type), bindparam("row_id"))
        chosen = chosen.where(row < mark if down else row > mark)
    order = (column.desc(), row_id.desc()) if down else (column, row_id)
    return chosen.order_by(*order).limit(bindparam("rows"))
