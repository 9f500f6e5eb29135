"""Search: files and folders that the actor may see, by words of their names, tags, descriptions and text."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import BeforeValidator, Field
from sqlalchemy import ColumnElement, func, or_

from webapp.db import db, read_rows
from webapp.infra.terms import spelled_terms, terms_of
from webapp.models.files import File
from webapp.models.folders import Folder
from webapp.models.record import live
from webapp.models.search import SearchEntry
from webapp.models.users import User
from webapp.policies import Actor, require
from webapp.services.cursors import Page, decode_cursor, encode_cursor
from webapp.services.hits import Part, Wish, hits
from webapp.services.inputs import Input, Instant, Line
from webapp.services.listings import MEDIA_TYPE, has_tag
from webapp.services.scopes import Scope, scope_of
from webapp.services.snippets import Piece, marked, snippet_of

MOST_TERMS = 16
_OFFICE, _OPEN = "application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument."
# type: what media types of it begin with. Others are media types, whole or their family.
FAMILIES: dict[str, tuple[str, ...]] = {
    "document": ("text/", "application/pdf", "application/rtf", "application/msword", f"{_OFFICE}wordprocessingml",
                 f"{_OPEN}text"),
    "spreadsheet": ("text/csv", "application/vnd.ms-excel", f"{_OFFICE}spreadsheetml", f"{_OPEN}spreadsheet"),
    "presentation": ("application/vnd.ms-powerpoint", f"{_OFFICE}presentationml", f"{_OPEN}presentation"),
    "archive": ("application/zip", "application/gzip", "application/x-tar", "application/x-7z", "application/x-xz"),
}  # fmt: skip


def _day(later: int) -> BeforeValidator:
    """A date stands for its beginning, or for its end."""

    def read(value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return value
        try:
            moment = datetime.fromisoformat(f"{value}T00:00:00+00:00")
            return moment + timedelta(days=later)
        except (ValueError, OverflowError):
            return value

    return BeforeValidator(read)


class SearchQuery(Input):
    """What to look for. Every word of `q` must begin a word of the name, a tag, the description or the text."""

    q: Annotated[Annotated[str, Line(200)] | None, Field(description="words, or how they begin")] = None
    type: Annotated[
        str | None,
        Field(
            pattern=MEDIA_TYPE, description="folder, document, spreadsheet, presentation, archive, image, image/png …"
        ),
    ] = None
    owner: Annotated[UUID | Literal["me", "others"] | None, Field(description="me, others or the id of an account")] = (
        None
    )
    folder_id: Annotated[UUID | None, Field(description="in this folder and those below it")] = None
    since: Annotated[Instant | None, _day(0), Field(description="changed since then; a date is its beginning")] = None
    until: Annotated[Instant | None, _day(1), Field(description="changed before then; a date is its end")] = None
    min_size: Annotated[int | None, Field(ge=0, description="bytes")] = None
    max_size: Annotated[int | None, Field(ge=0, description="bytes")] = None
    tag: Annotated[str, Line(50)] | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None

    @property
    def asks(self) -> bool:
        """Whether anything is looked for."""
        return any(value is not None for name, value in self if name not in {"limit", "cursor"})


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder that was found. `title` and `snippet` are text in pieces: those that were searched for are
    marked. `folder_id` is where it lies, `folder_name` only where one may see that; `size` is bytes."""

    kind: Literal["file", "folder"]
    id: UUID
    name: str
    mime: str | None
    size: int | None
    folder_id: UUID | None
    folder_name: str | None
    owner_id: UUID
    owner: str
    tags: list[str]
    updated_at: datetime
    version: int
    thumbnail: bool
    found_in: Literal["name", "content"]
    title: list[Piece]
    snippet: list[Piece]


def search(actor: Actor, query: SearchQuery) -> Page[Hit]:
    """A page of what was found: by name first, then by content, the newest first. At most three statements.

    Raises Missing for an unknown folder, Invalid for a cursor.
    """
    require(actor, "files.read")
    part, mark = ("name", None) if query.cursor is None else _mark(query.cursor)
    terms = terms_of(query.q or "")[:MOST_TERMS]
    spelled = spelled_terms(query.q or "")[:MOST_TERMS]
    if not query.asks or (query.q and not (terms and spelled)):
        return Page(items=[])
    scope, wish = scope_of(actor, query.folder_id), _wish(actor, query, terms, spelled)
    found: list[tuple[Hit, list[Any]]] = []
    parts: list[Part] = ["name", "content"] if terms else ["name"]
    for each in parts[parts.index(part) if part in parts else 0 :]:
        rows = read_rows(hits(db.engine.dialect.name, scope, wish, each, mark, query.limit + 1 - len(found)))
        found += [(_hit(row, scope, terms, each), [each, row.row_id]) for row in rows]
        mark = None
        if len(found) > query.limit:
            break
    more = len(found) > query.limit
    found = found[: query.limit]
    return Page(items=[hit for hit, _ in found],
                next_cursor=encode_cursor(["search", *found[-1][1]]) if more else None)  # fmt: skip


def _mark(cursor: str) -> tuple[Part, int]:
    part, number = decode_cursor(cursor, (Literal["name", "content"], int), of="search")  # type: ignore[arg-type]
    return part, number


def _wish(actor: Actor, query: SearchQuery, terms: list[str], spelled: list[str]) -> Wish:
    criteria: list[ColumnElement[bool]] = []
    changed = func.coalesce(File.updated_at, Folder.updated_at)
    if query.since:
        criteria.append(changed >= query.since)
    if query.until:
        criteria.append(changed < query.until)
    if query.min_size is not None:
        criteria.append(File.size >= query.min_size)
    if query.max_size is not None:
        criteria.append(File.size <= query.max_size)
    if query.type and query.type != "folder":
        criteria.append(_is_of(query.type))
    if query.tag:
        criteria.append(has_tag(db.engine.dialect.name, query.tag))
    if query.owner:
        criteria.append(_is_owned(actor, query.owner))
    tag = query.tag or ""
    return Wish(terms, spelled, criteria, {"folder"} if query.type == "folder" else {"file", "folder"}, terms_of(tag),
                spelled_terms(tag))  # fmt: skip


def _is_of(kind: str) -> ColumnElement[bool]:
    beginnings = FAMILIES.get(kind)
    if beginnings:
        return or_(*(File.mime.startswith(beginning, autoescape=True) for beginning in beginnings))
    return File.mime == kind if "/" in kind else File.mime.startswith(f"{kind}/", autoescape=True)


def _is_owned(actor: Actor, owner: UUID | Literal["me", "others"]) -> ColumnElement[bool]:
    if owner == "me":
        return SearchEntry.owner_id == actor.id
    if owner == "others":
        return SearchEntry.owner_id != actor.id
    return SearchEntry.owner_id == live(User, User.id).where(User.uuid == owner).scalar_subquery()


def _hit(row: Any, scope: Scope, terms: list[str], part: Part) -> Hit:
    tags = list(row.tags or ())
    texts = (row.description, " · ".join(tags), row.text)
    return Hit(
        kind=row.kind, id=row.uuid, name=row.name, mime=row.mime, size=row.size, folder_id=row.place_uuid,
        folder_name=row.place_name if scope.shows_folder(row.owner_id, row.parent_id) else None,
        owner_id=row.owner_uuid, owner=row.owner, tags=tags, updated_at=row.updated_at, version=row.version,
        thumbnail=bool(row.thumbnail), found_in=part, title=marked(row.name, terms),
        snippet=snippet_of(texts, terms) if part == "content" else [],
    )  # fmt: skip
