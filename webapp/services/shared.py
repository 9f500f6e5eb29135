"""What others have shared with the actor, directly or through a group: the roots, newest first."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field

from webapp.db import read_rows
from webapp.infra.clock import now
from webapp.models.access import live_roots, mine
from webapp.policies import Actor, Level, require
from webapp.services.access import levels_at
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.inputs import Input


class SharedQuery(Input):
    """A page of what is shared with one."""

    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class SharedView(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder of somebody else's; `level` is the highest that any grant gives, `shared_at` the newest one."""

    kind: Literal["file", "folder"]
    id: UUID
    name: str
    level: str
    owner: str
    mime: str | None
    size: int | None
    shared_at: datetime
    updated_at: datetime


def list_shared(actor: Actor, query: SharedQuery) -> Page[SharedView]:
    """The files and folders that a grant names, without what lies in them. Two statements. Raises Invalid."""
    require(actor, "files.read")
    before = decode_cursor(query.cursor, (int,), of="shared")[0] if query.cursor else None
    rows = read_rows(live_roots(mine(actor.id, actor.groups, now()), actor.id, before, query.limit + 1))
    levels = dict(zip((row.mark for row in rows), levels_at(actor, rows), strict=True))
    return page_of(rows, query.limit, lambda row: _view(row, levels[row.mark]), lambda row: (row.mark,), of="shared")


def _view(row: Any, level: Level) -> SharedView:
    return SharedView(kind="folder" if row.id is None else "file", id=row.uuid, name=row.name,
                      level=level.name.lower(), owner=row.owner, mime=row.mime, size=row.size, shared_at=row.shared_at,
                      updated_at=row.updated_at)  # fmt: skip
