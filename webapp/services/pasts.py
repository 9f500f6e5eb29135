"""Looking at a folder, or the top, as it was at an instant. Nothing changes."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import Field
from sqlalchemy import literal, tuple_

from webapp.db import read_rows
from webapp.infra.clock import now
from webapp.models.pasts import RANK, any_past_items
from webapp.models.placements import Placement
from webapp.policies import Actor
from webapp.services.cursors import Page, decode_cursor, page_of
from webapp.services.inputs import Input, Instant
from webapp.services.restorations import scope_of


class PastQuery(Input):
    """A page of what was in a folder; without `at` of what is there now."""

    at: Annotated[Instant | None, Field(description="the instant, with its offset")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 25
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class PastView(msgspec.Struct, frozen=True, kw_only=True):
    """An item as it was. `id` is null for what was removed for good; `since` is when it came to be as it was then.

    `size` and `mime` are null for folders, and where that content was removed.
    """

    kind: Literal["file", "folder"]
    id: UUID | None
    name: str
    number: int | None
    size: int | None
    mime: str | None
    since: datetime


def list_past(actor: Actor, folder_id: UUID | None, query: PastQuery) -> Page[PastView]:
    """What lay directly in the folder (at the top for none) at the instant: folders first, by name.

    For the owner and managers. Raises Missing, Refused.
    """
    owner_id, folder, _whole = scope_of(actor, folder_id, "files.read")
    chosen = any_past_items(owner_id, folder.id if folder else None, query.at or now())
    if query.cursor:
        rank, name, item = decode_cursor(query.cursor, (int, str, int), of="past")
        mark = tuple_(literal(rank), literal(name), literal(item))
        chosen = chosen.where(tuple_(RANK, Placement.name, Placement.item_id) > mark)
    rows = read_rows(chosen.limit(query.limit + 1))
    return page_of(rows, query.limit, _view, lambda row: (row.rank, row.name, row.item_id), of="past")


def _view(row: Any) -> PastView:
    folder = row.item_type == "folder"
    return PastView(kind="folder" if folder else "file", id=row.folder_uuid if folder else row.file_uuid, name=row.name,
                    number=row.number, size=row.size, mime=row.mime, since=row.valid_from)  # fmt: skip
